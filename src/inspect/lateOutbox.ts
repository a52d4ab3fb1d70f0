import { TOKEN } from '../bus/subjects.ts';
import type { LateRow, NodeRow } from '../store/read.ts';

/** What takes longer than this to arrive is worth a word, ms: after a failover it takes seconds. */
export const LATE_MS = 60_000;

/** Messages and outcomes that are committed and do not arrive. */
export interface Late {
  /** Rows of the outbox; several outcomes may share one. */
  waiting: number;
  /** More wait than were counted. */
  more: boolean;
  /** Null when none waits. */
  oldest: {
    /** `order/o-1/3/0`: the sender, its transition, and the place in it. */
    message_id: string;
    /** Whom a message is for, or whose end an outcome tells: `mail/m-1`. */
    of: string;
    /** ISO 8601. */
    since: string;
    /** As far as it is known. */
    why: string;
  } | null;
}

/** `rows` begin with the oldest, `limit` at most. Pure. */
export function lateOutbox(
  rows: readonly LateRow[],
  limit: number,
  nodes: readonly Pick<NodeRow, 'live' | 'nats_ok'>[],
): Late {
  const [first] = rows;
  return {
    waiting: rows.length,
    more: rows.length === limit,
    oldest: first
      ? {
          message_id: first.message_id,
          of: `${first.type}/${first.id}`,
          since: first.created_at,
          why: reasonOf(first, nodes),
        }
      : null,
  };
}

function reasonOf(
  { kind, type, id }: LateRow,
  nodes: readonly Pick<NodeRow, 'live' | 'nats_ok'>[],
): string {
  const live = nodes.filter((node) => node.live);
  if (live.length === 0) return 'no node runs';
  if (!live.some((node) => node.nats_ok)) return 'no node reaches NATS';
  if (!TOKEN.test(type) || !TOKEN.test(id)) return 'no actor can have this address';
  return kind === 'send'
    ? 'the owner of the shard it is for has not applied it'
    : 'JetStream has not taken it';
}
