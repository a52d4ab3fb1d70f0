import type { ErrorCode } from '../errors.ts';
import type { DeadLetterWrite } from '../store/elsewhere.ts';
import { refusedQuestion } from './asks.ts';
import type { Batch } from './batch.ts';
import { printable } from './parker.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** What becomes a dead letter: who can be told of it, and where it was found. */
export interface Refused {
  letter: Omit<DeadLetterWrite, 'reason' | 'detail'>;
  reason: ErrorCode;
  detail: string;
  /** Id of the outbox row it was, when another actor sent it: it may have been a question. */
  outboxId: string | null;
  /** Where it was in the log, or the id of its row in the outbox: for the log line. */
  logSeq?: number;
  message?: string;
}

/** Makes a dead letter of it, in the batch; who has asked a question by it is told. */
export function bury(
  ring: Ring,
  shard: Shard,
  batch: Batch,
  { letter, reason, detail, outboxId, logSeq, message }: Refused,
): void {
  const subject = letter.subject.slice(0, 300);
  ring.load.deadLetters++;
  ring.log.warn({ subject, ...shard.place, logSeq, message, reason, detail }, 'dead letter');
  const told =
    outboxId === null ? undefined : refusedQuestion(letter.body, outboxId, reason, detail);
  if (told) batch.send(told);
  batch.deadLetter({ ...letter, reason, detail: printable(detail) });
}
