import { OUTBOX_HEADER } from '../bus/subjects.ts';
import type { PerdureError } from '../errors.ts';
import type { OutboxRow } from '../store/store.ts';
import type { Batch } from './batch.ts';
import { bury } from './bury.ts';
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
export function buryUndeliverable(
  ring: Ring,
  shard: Shard,
  batch: Batch,
  { row, done, error }: Undeliverable,
): void {
  const { messageId, kind, type, id } = row;
  const isSend = kind === 'send';
  const headers = isSend ? { [OUTBOX_HEADER]: messageId } : {};
  bury(ring, shard, batch, {
    letter: {
      logId: `outbox/${messageId}`,
      logSeq: 0,
      subject: printable(`${isSend ? 'events' : 'outcomes'}.${type}.${id}`),
      headers: JSON.stringify({ ...headers, 'Nats-Msg-Id': messageId }),
      body: Buffer.from(row.body),
      messageId: printable(messageId),
    },
    reason: error.code,
    detail: error.message,
    outboxId: isSend ? messageId : null,
    message: messageId,
  });
  if (done !== undefined) batch.delivered(done);
}
