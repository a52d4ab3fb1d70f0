import { subjects } from '../bus/subjects.ts';
import { addressKey, eventKey } from '../store/store.ts';
import { isKin } from './kin.ts';
import type { RowText } from './kinRows.ts';
import type { Ring } from './ring.ts';

/** The committed state of one actor, as a query answers it (docs/protocol.md). */
export interface QueryAnswer {
  type: string;
  id: string;
  status: string;
  /** XState state value. */
  state: unknown;
  version: string;
  seq: number;
  shard: number;
  epoch: number;
  tags: string[];
  output: unknown;
  error: unknown;
  /** The envelope, as JSON text. */
  snapshot: string;
  /** Nothing is done for it until it is resumed; left out: it is not paused. */
  paused?: true;
  /** Rows of the machines it has invoked or spawned, as far as its snapshot has them; left out when it has none. */
  machines?: RowText[];
  /** When the question named an `eventId`: whether the actor has taken that event. */
  applied?: boolean;
}

/**
 * Answers `queries.<type>.<id>` with the committed row, whichever node is asked: what is shown is always durable.
 * Returns the way to stop.
 */
export function answerQueries(ring: Ring): () => void {
  let open = 0;
  const answer = answerWith(ring);
  return ring.bus.answer(subjects.query(ring.namespace, '*', '*'), async (subject, body) => {
    // They wait for Postgres, as long as it takes; whoever asked does not.
    if (open >= OPEN_MAX) {
      const message = `${OPEN_MAX} queries wait for Postgres already.`;
      return JSON.stringify({ ok: false, error: { code: 'store_unavailable', message } });
    }
    open++;
    return answer(subject, body).finally(() => open--);
  });
}

const OPEN_MAX = 1_000;

function answerWith(ring: Ring) {
  return async (subject: string, body: Uint8Array): Promise<string> => {
    const [type = '', id = ''] = subject.split('.').slice(-2);
    const eventId = eventIdIn(body);
    if (eventId === null) {
      const message = 'The body of a query is empty, or {"eventId": "…"}.';
      return JSON.stringify({ ok: false, error: { code: 'bad_body', message } });
    }
    const found = await ring.loader.load([{ type, id }]);
    const row = found.get(addressKey({ type, id }));
    if (!row) {
      const message = `There is no ${type}/${id}.`;
      return JSON.stringify({ ok: false, error: { code: 'not_found', message } });
    }
    const { status, version, seq, shard, epoch, snapshot } = row;
    const answer: QueryAnswer = {
      type,
      id,
      status,
      state: JSON.parse(row.state),
      version,
      seq,
      shard,
      epoch,
      tags: JSON.parse(row.tags),
      output: JSON.parse(row.output ?? 'null'),
      error: JSON.parse(row.error ?? 'null'),
      snapshot,
    };
    if (row.paused) answer.paused = true;
    const machines = [...found.values()].filter((other) => other !== row && isKin(other, row));
    if (machines.length > 0)
      answer.machines = machines.map((child) => ({
        type: child.type,
        id: child.id,
        seq: child.seq,
        snapshot: child.snapshot,
      }));
    if (eventId !== undefined) {
      const event = { type, id, eventId };
      answer.applied = (await ring.store.knownEvents([event])).has(eventKey(event));
    }
    return JSON.stringify({ ok: true, actor: answer });
  };
}

/** The event id that is asked about; undefined for an empty body, null for one that is something else. */
function eventIdIn(body: Uint8Array): string | undefined | null {
  if (body.length === 0) return undefined;
  try {
    const { eventId } = JSON.parse(Buffer.from(body).toString()) as { eventId?: unknown };
    return typeof eventId === 'string' ? eventId : null;
  } catch {
    return null;
  }
}
