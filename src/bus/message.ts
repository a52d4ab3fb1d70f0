import type { Msg } from '@nats-io/transport-node';
import { BATCH_HEADERS } from './batches.ts';
import type { LogMessage } from './bus.ts';
import { HeaderReader } from './wire.ts';

/** What JetStream says about a delivery, in the subject that acknowledges it. */
export interface Delivery {
  /** 1 the first time. */
  count: number;
  /** Sequence in the stream. */
  seq: number;
  /** Sequence of the consumer: every delivery, also a repeated one, has the next number. */
  consumerSeq: number;
}

/**
 * Reads acknowledgement subjects of one consumer. All of them begin alike, so after the first one only
 * three numbers are parsed.
 * Source: `$JS.ACK.<stream>.<consumer>.<count>.<seq>.<consumerSeq>.<ns>.<pending>`, since 2.14 also
 * `$JS.ACK.<domain>.<account>.<stream>.…` (ADR-15).
 */
export class DeliveryParser {
  #prefix = '';

  /** Null when the subject is no acknowledgement. */
  parse(reply: string): Delivery | null {
    if (this.#prefix === '' || !reply.startsWith(this.#prefix)) {
      const tokens = reply.split('.');
      const head = tokens.length >= 11 ? 6 : 4;
      if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9) return null;
      this.#prefix = `${tokens.slice(0, head).join('.')}.`;
    }
    const a = this.#prefix.length;
    const b = reply.indexOf('.', a) + 1;
    const c = reply.indexOf('.', b) + 1;
    const d = reply.indexOf('.', c);
    return {
      count: Number(reply.slice(a, b - 1)),
      seq: Number(reply.slice(b, c - 1)),
      consumerSeq: Number(reply.slice(c, d)),
    };
  }

  /** Where an acknowledgement of a delivery goes; when it was stored and how many wait is of no interest to the server there. */
  ackSubject({ count, seq, consumerSeq }: Delivery): string {
    return `${this.#prefix}${count}.${seq}.${consumerSeq}.0.0`;
  }
}

/** Of an acknowledgement's subject; not a number when it is none. ms since 1970. */
function publishedAt(reply: string): number {
  const tokens = reply.split('.');
  return Number(tokens[tokens.length >= 11 ? 9 : 7]) / 1_000_000;
}

/** A message of a shard. Everything is decoded when it is asked for, since most of it never is. */
export class JetStreamMessage implements LogMessage {
  readonly shard: number;
  readonly seq: number;
  readonly #msg: Msg;
  readonly #settle: (seq: number) => void;
  #headers: HeaderReader | undefined;

  constructor(shard: number, seq: number, msg: Msg, settle: (seq: number) => void) {
    this.shard = shard;
    this.seq = seq;
    this.#msg = msg;
    this.#settle = settle;
  }

  get subject(): string {
    // Stored as `<shard>.jobs.order.o-1`; the stream's transform has left the namespace out.
    const stored = this.#msg.subject;
    return stored.slice(stored.indexOf('.') + 1);
  }

  get body(): Uint8Array {
    return this.#msg.data;
  }

  get messageId(): string | null {
    return this.header('Nats-Msg-Id');
  }

  get publishedAt(): number | null {
    const at = publishedAt(this.#msg.reply ?? '');
    return Number.isFinite(at) ? at : null;
  }

  header(name: string): string | null {
    this.#headers ??= new HeaderReader(this.#msg);
    return this.#headers.get(name);
  }

  headers(): Record<string, string> {
    const all: Record<string, string> = {};
    // How it was stored is not a part of it: published again with these, it would be one of that batch.
    for (const [name, values] of this.#msg.headers ?? [])
      if (!BATCH_HEADERS.includes(name)) all[name] = values.join(', ');
    return all;
  }

  ack(): void {
    this.#settle(this.seq);
  }
}
