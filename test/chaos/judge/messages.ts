import { isDeepStrictEqual } from 'node:util';
import { addressKey } from '../../../src/store/store.ts';
import type { Accepted } from '../load/load.ts';
import type { Complaints } from './complaints.ts';
import type { Facts } from './facts.ts';
import { outputOf } from './outcomes.ts';

/** What clients were told (8), what left through the outbox (9), and the order of what came from one source (12). */
export function judgeMessages(facts: Facts, accepted: Accepted, complaints: Complaints): void {
  const { history } = facts;
  const committed = new Map<string, number>();
  const seqs = new Map<string, number>();
  for (const transition of history.transitions) {
    const key = addressKey(transition);
    if (transition.eventId !== null) committed.set(`${key} ${transition.eventId}`, transition.seq);
    seqs.set(key, Math.max(seqs.get(key) ?? 0, transition.seq));
  }

  for (const receipt of accepted.committed) {
    const seq = committed.get(`${addressKey(receipt)} ${receipt.messageId}`);
    const name = `${addressKey(receipt)}: ${receipt.messageId}`;
    if (seq === undefined) complaints.add(8, `${name} was told to be committed and is not there`);
    else if (receipt.seq !== undefined && receipt.seq !== seq)
      complaints.add(8, `${name} was told to be committed as ${receipt.seq} and stands at ${seq}`);
  }

  const emitted = (outboxId: string) => {
    const [type, id, seq] = outboxId.split('/');
    return Number(seq) <= (seqs.get(`${type}/${id}`) ?? 0);
  };
  const bodies = new Map<string, string>();
  for (const { outboxId, subject, body } of facts.messages) {
    if (!emitted(outboxId))
      complaints.add(9, `${outboxId} stands in the log, and its transition was never committed`);
    const text = `${subject} ${body}`;
    if ((bodies.get(outboxId) ?? text) !== text)
      complaints.add(9, `${outboxId} stands in the log with two texts`);
    bodies.set(outboxId, text);
  }
  for (const { messageId } of history.outbox)
    if (!emitted(messageId))
      complaints.add(9, `${messageId} is in the outbox, and its transition was never committed`);

  const rows = new Map(history.actors.map((row) => [addressKey(row), row]));
  for (const outcome of facts.outcomes) {
    const row = rows.get(addressKey(outcome));
    const name = `${addressKey(outcome)}#${outcome.seq}`;
    if (!row || row.status !== outcome.status || row.seq !== outcome.seq) {
      complaints.add(9, `${name}: the outcome ${outcome.status} was published and not committed`);
      continue;
    }
    if (row.status === 'done' && !isDeepStrictEqual(outputOf(row), outcome.output))
      complaints.add(9, `${name}: its outcome is not the output that was committed`);
  }

  const last = new Map<string, number>();
  for (const transition of history.transitions) {
    if (transition.origin !== 'event') continue;
    const { src, srcSeq } = JSON.parse(transition.event) as { src?: string; srcSeq?: number };
    if (src === undefined || srcSeq === undefined) continue;
    const way = `${src} → ${addressKey(transition)}`;
    const before = last.get(way) ?? 0;
    if (srcSeq <= before)
      complaints.add(12, `${way}: number ${srcSeq} was applied after ${before}`);
    last.set(way, srcSeq);
  }
}
