import { OUTBOX_HEADER } from '../bus/subjects.ts';
import type { PerdureError } from '../errors.ts';
import type { OutboxRow } from '../store/store.ts';
import { refusedQuestion } from './asks.ts';
import type { Batch } from './batch.ts';
import { printable } from './parker.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** A row of the outbox that can never reach the log, and why. */
export interface Undeliverable {
  row: OutboxRow;
  /** Id of the row that goes with it; undefined while others in it are not published. */
  done: string | undefined;
  error: PerdureError;
}

/**
 * Makes a dead letter of it in the sender's shard: it has no place in the log. The same row makes the same letter, so asking
 * again after a crash changes nothing. Who has asked a question by it is told.
 */
export function bury(
  ring: Ring,
  shard: Shard,
  batch: Batch,
  { row, done, error }: Undeliverable,
): void {
  const { messageId, kind, type, id } = row;
  const { code: reason, message: detail } = error;
  const subject = `${kind === 'send' ? 'events' : 'outcomes'}.${type}.${id}`;
  const body = Buffer.from(row.body);
  ring.load.deadLetters++;
  ring.log.warn({ subject, ...shard.place, message: messageId, reason, detail }, 'dead letter');
  const headers = kind === 'send' ? { [OUTBOX_HEADER]: messageId } : {};
  batch.deadLetter({
    logId: `outbox/${messageId}`,
    logSeq: 0,
    reason,
    detail: printable(detail),
    subject: printable(subject),
    headers: JSON.stringify({ ...headers, 'Nats-Msg-Id': messageId }),
    body,
    messageId: printable(messageId),
  });
  if (done !== undefined) batch.delivered(done);
  const told = kind === 'send' ? refusedQuestion(body, messageId, reason, detail) : undefined;
  if (told) batch.send(told);
}
