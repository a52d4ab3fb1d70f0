import { readMessage } from '../actors/intake.ts';
import type { Bus } from '../bus/bus.ts';
import { REPLY_HEADER } from '../bus/subjects.ts';
import { LIMITS, type Namespace } from '../config.ts';
import { PerdureError } from '../errors.ts';
import type { DeadLetterDetail } from '../store/letters.ts';
import type { ReadStore } from '../store/read.ts';

/** What became of a dead letter that was published again. */
export interface Redriven {
  dead_letter_id: string;
  message_id: string;
  /** Its new sequence in the log. */
  log_seq: number;
}

/**
 * Publishes a dead letter again, body and headers as they were, and marks it. Asking again after a crash in between
 * changes nothing: the new message id follows from the letter and from when it was last redriven.
 * @throws PerdureError `not_found`; `bad_options` when it was redriven before; its own reason when it would only
 *   become a dead letter again; as `Bus.publish`
 */
export async function redrive(
  store: ReadStore,
  bus: Bus,
  namespace: Namespace,
  deadLetterId: string,
  again: boolean,
): Promise<Redriven> {
  const letter = await store.deadLetter(deadLetterId);
  if (!letter) throw new PerdureError('not_found', `There is no dead letter ${deadLetterId}.`);
  if (letter.redriven_at !== null && !again)
    throw new PerdureError(
      'bad_options',
      `Dead letter ${deadLetterId} was redriven at ${letter.redriven_at}; it is published once more only when that is said (--again, or "again": true).`,
    );
  // The id it had is remembered by JetStream for a while, which would drop it without a word.
  const messageId = `redrive-${deadLetterId}-${Date.parse(letter.redriven_at ?? letter.at)}`;
  assertReadable(letter, messageId);
  const { seq } = await bus.publish(`${namespace.subjectPrefix}${letter.subject}`, letter.body, {
    messageId,
    headers: carriedHeaders(letter.headers),
  });
  await store.markRedriven(deadLetterId);
  return { dead_letter_id: deadLetterId, message_id: messageId, log_seq: seq };
}

/** Some can never be done, whoever reads them: an illegal subject, a body that is no JSON. */
function assertReadable(letter: DeadLetterDetail, messageId: string): void {
  const { subject, body, headers } = letter;
  const read = readMessage(
    {
      shard: 0,
      seq: 0,
      subject,
      body,
      messageId,
      publishedAt: null,
      header: (name) => headers[name] ?? null,
      headers: () => headers,
      ack: () => {},
    },
    '',
    LIMITS,
  );
  if (!read.ok)
    throw new PerdureError(
      read.reason,
      `Dead letter ${letter.dead_letter_id} cannot be redriven, it would come back: ${sentence(read.detail)} Send a corrected message instead.`,
    );
}

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

/** JetStream's own headers said how that publish was to be stored; whoever waited for the reply has gone. */
function carriedHeaders(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !/^nats-/i.test(name) && name !== REPLY_HEADER),
  );
}
