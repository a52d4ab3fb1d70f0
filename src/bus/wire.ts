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

/** Larger ones go by themselves. UTF-16 units; each is at most 3 bytes. */
const POST_MAX = 16 * 1024;
const PIECE_BYTES = 64 * 1024;
const [CR, LF] = [13, 10];

interface ConnectionInside {
  protocol?: { sendCommand?(command: Uint8Array): void };
}

/**
 * Small messages without headers and answers, which nobody waits for: those of one go are one write. They are written where they
 * are sent from at once: texts that wait for each other are what the collector would have to copy.
 */
export class Posts {
  #piece = Buffer.alloc(0);
  /** What is in the piece from here to there has not been handed over. */
  #from = 0;
  #at = 0;
  #to: NatsConnection | undefined;

  post(nc: NatsConnection, subject: string, body: string | Uint8Array): void {
    const { protocol } = nc as unknown as ConnectionInside;
    const isSmall = typeof body === 'string' && body.length + subject.length <= POST_MAX;
    if (!isSmall || !protocol?.sendCommand || /\s/.test(subject)) {
      this.flush();
      return nc.publish(subject, typeof body === 'string' ? Buffer.from(body) : body);
    }
    if (this.#to !== nc) {
      this.flush();
      this.#to = nc;
      queueMicrotask(this.#soon);
    }
    this.#makeRoom(3 * (subject.length + body.length) + 32);
    this.#write(subject, body);
  }

  readonly #soon = (): void => this.flush();

  #makeRoom(bytes: number): void {
    if (this.#piece.length - this.#at >= bytes) return;
    const to = this.#to;
    this.flush();
    this.#to = to;
    this.#piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.#from = this.#at = 0;
  }

  /** The body first: how long it is goes ahead of it. */
  #write(subject: string, body: string): void {
    const piece = this.#piece;
    let head = `PUB ${subject} ${body.length}\r\n`;
    let bytes = piece.write(body, this.#at + head.length);
    if (bytes !== body.length || piece.write(head, this.#at) !== head.length) {
      // Not all of it is ASCII, and the body begins elsewhere.
      head = `PUB ${subject} ${bytes}\r\n`;
      this.#at += piece.write(head, this.#at);
      bytes = piece.write(body, this.#at);
    } else this.#at += head.length;
    this.#at += bytes;
    piece[this.#at++] = CR;
    piece[this.#at++] = LF;
  }

  /** Hands what has gathered to the client. */
  flush(): void {
    const to = this.#to as unknown as ConnectionInside | undefined;
    const text = this.#piece.subarray(this.#from, this.#at);
    this.#from = this.#at;
    this.#to = undefined;
    if (text.length > 0) to?.protocol?.sendCommand?.(text);
  }
}
