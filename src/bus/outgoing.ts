import { asError, PerdureError } from '../errors.ts';
import type { PublishAck, PublishOptions } from './bus.ts';
import { headerLine } from './wire.ts';

/** Where what goes alone waits, beside the streams. */
const NOT_IN_BATCHES = '';

/** A message on its way to a stream, until it is known to be stored. */
export interface Publish {
  readonly token: string;
  readonly subject: string;
  readonly body: Uint8Array | string;
  /** Header lines. */
  readonly headers: string;
  /** Sending it twice is harmless. */
  readonly hasId: boolean;
  /** The stream in whose batches it may go; undefined: it goes alone. */
  stream: string | undefined;
  readonly deadline: number;
  state: 'waiting' | 'sent' | 'resting';
  /** Counted as the one message, outside of batches, that its stream is busy with. */
  counted: boolean;
  /** The token of the batch it was sent in. */
  batch: string | undefined;
  sentAt: number;
  tries: number;
  /** Sent, and neither stored nor refused for certain. */
  unknown: boolean;
  /** Why the last try did not work. */
  reason: string;
  resolve(ack: PublishAck): void;
  reject(error: PerdureError): void;
}

/** What waits to be sent, by the stream in whose batches it may go. */
export class Waiting {
  readonly #all = new Map<string, Set<Publish>>();

  add(entry: Publish): void {
    entry.state = 'waiting';
    const where = entry.stream ?? NOT_IN_BATCHES;
    const waiting = this.#all.get(where);
    if (waiting === undefined) this.#all.set(where, new Set([entry]));
    else waiting.add(entry);
  }

  delete(entry: Publish): void {
    this.#all.get(entry.stream ?? NOT_IN_BATCHES)?.delete(entry);
  }

  /** The streams, and undefined for what goes alone. */
  *streams(): Iterable<[stream: string | undefined, waiting: ReadonlySet<Publish>]> {
    for (const [stream, waiting] of this.#all)
      yield [stream === NOT_IN_BATCHES ? undefined : stream, waiting];
  }
}

/** The first ones, `count` at most. */
export function first<T>(some: Iterable<T>, count: number): T[] {
  const found: T[] = [];
  for (const one of some) {
    if (found.length === count) break;
    found.push(one);
  }
  return found;
}

/** The message's header lines. @throws PerdureError `bad_subject`, `bad_event` for what no stream could take. */
export function checked(subject: string, options: PublishOptions): string {
  // The server would take these literally, and no reader could name them.
  if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(subject))
    throw new PerdureError(
      'bad_subject',
      `${JSON.stringify(subject.slice(0, 300))} is no subject.`,
    );
  try {
    return encode(options);
  } catch (thrown) {
    throw new PerdureError('bad_event', `Bad header: ${asError(thrown).message}`);
  }
}

function encode({ messageId, headers }: PublishOptions): string {
  let lines = '';
  for (const name in headers) lines += headerLine(name, headers[name] ?? '');
  return messageId === undefined ? lines : lines + headerLine('Nats-Msg-Id', messageId);
}
