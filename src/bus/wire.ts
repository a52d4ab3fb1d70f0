import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node';

/**
 * Where the client is told less, or more at once, than its own interface has words for, since that runs for every message: it
 * makes a map of arrays of a message's headers, and takes every publish apart. All of it looks inside of nats-core 3.4.0, and works
 * by the client's own interface where that looks otherwise. Source of the texts: NATS' client protocol, and ADR-4 for headers.
 */

interface MsgInside {
  _msg?: { hdr?: number };
  _rdata?: Uint8Array;
}

/** The message's header lines as they came, each behind a line break; undefined when it has none, or they cannot be seen. */
function headerText(msg: Msg): string | undefined {
  const { _msg, _rdata } = msg as unknown as MsgInside;
  if (_rdata === undefined || _msg?.hdr === undefined || _msg.hdr <= 0) return undefined;
  return Buffer.from(_rdata.buffer, _rdata.byteOffset, _msg.hdr).toString();
}

/** Reads single headers of one message. */
export class HeaderReader {
  readonly #msg: Msg;
  #text: string | undefined;

  constructor(msg: Msg) {
    this.#msg = msg;
    this.#text = headerText(msg);
  }

  /** The first of that name, exactly as it is spelt; null when there is none or it says nothing. */
  get(name: string): string | null {
    if (this.#text === undefined) return this.#msg.headers?.get(name) || null;
    const at = this.#text.indexOf(`\r\n${name}:`);
    if (at < 0) return null;
    const from = at + name.length + 3;
    return this.#text.slice(from, this.#text.indexOf('\r\n', from)).trim() || null;
  }
}

/** Header lines for a message that is published. @throws TypeError for what no header may hold. */
export function headerLine(name: string, value: string): string {
  if (!/^[!-9;-~]+$/.test(name))
    throw new TypeError(`${JSON.stringify(name)} is no header's name.`);
  if (/[\r\n]/.test(value)) throw new TypeError(`The value of ${name} has a line break.`);
  return `\r\n${name}: ${value.trim()}`;
}

/** What the client's `publish` takes for headers: it only asks for their bytes. */
export const headersOf = (lines: string): MsgHdrs =>
  ({ encode: () => Buffer.from(`NATS/1.0${lines}\r\n\r\n`) }) as unknown as MsgHdrs;

/** Larger ones go by themselves. */
const POST_MAX = 16 * 1024;

interface ConnectionInside {
  protocol?: { sendCommand?(command: Uint8Array): void };
}

/** Small messages without headers and answers, which nobody waits for: those of one go are one write. */
export class Posts {
  #text = '';
  #to: NatsConnection | undefined;

  post(nc: NatsConnection, subject: string, body: string | Uint8Array): void {
    const { protocol } = nc as unknown as ConnectionInside;
    const isSmall = typeof body === 'string' && body.length <= POST_MAX;
    if (!isSmall || !protocol?.sendCommand || /\s/.test(subject)) {
      this.flush();
      return nc.publish(subject, typeof body === 'string' ? Buffer.from(body) : body);
    }
    if (this.#to !== nc) {
      this.flush();
      this.#to = nc;
      queueMicrotask(() => this.flush());
    }
    this.#text += `PUB ${subject} ${Buffer.byteLength(body)}\r\n${body}\r\n`;
    if (this.#text.length > POST_MAX * 4) this.flush();
  }

  /** Hands what has gathered to the client. */
  flush(): void {
    const to = this.#to as unknown as ConnectionInside | undefined;
    const text = this.#text;
    this.#text = '';
    this.#to = undefined;
    if (text !== '') to?.protocol?.sendCommand?.(Buffer.from(text));
  }
}
