import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What can get lost on the way:
 *  - `pubAck`: the word of JetStream that a message is stored;
 *  - `ack`: the word of a reader that a message is done.
 */
export type Word = 'pubAck' | 'ack';

/** A line to a nats-server that can lose single words, which no cut through bytes can aim at. */
export interface NatsCutProxy {
  /** The server's URL that goes through it. */
  readonly url: string;
  /** Drops the next `count` of them, on whichever connection. */
  drop(word: Word, count?: number): void;
  /** How many there have been dropped. */
  readonly dropped: Readonly<Record<Word, number>>;
  /** Plans to drop no more. */
  heal(): void;
  close(): Promise<void>;
}

/** Without TLS, and for a server that does not advertise others: clients would go there. */
export async function startNatsCutProxy(natsUrl: string): Promise<NatsCutProxy> {
  const target = new URL(natsUrl);
  const sockets = new Set<Socket>();
  const planned: Record<Word, number> = { pubAck: 0, ack: 0 };
  const dropped: Record<Word, number> = { pubAck: 0, ack: 0 };

  function passes(word: Word | undefined): boolean {
    if (word === undefined || planned[word] === 0) return true;
    planned[word]--;
    dropped[word]++;
    return false;
  }

  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({
      port: Number(target.port || 4222),
      host: target.hostname,
      noDelay: true,
    });
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end).on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    relay(client, upstream, (frame) => passes(isAck(frame) ? 'ack' : undefined));
    relay(upstream, client, (frame) => passes(isPubAck(frame) ? 'pubAck' : undefined));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(natsUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    dropped,
    drop(word, count = 1) {
      planned[word] = count;
    },
    heal() {
      planned.pubAck = 0;
      planned.ack = 0;
    },
    async close() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** One operation: its words, and the message it carries with headers taken off. */
interface Frame {
  readonly words: readonly string[];
  readonly payload: string;
}

/** As long as a payload can be to be looked at; the words in question are short. */
const LOOK_BYTES = 1_024;

/**
 * Passes on every frame that `passes`, whole and in order.
 * Source: NATS documentation, "Client Protocol". An operation is a line; PUB, HPUB, MSG and HMSG are followed by as many
 * bytes as the last number of the line says, of which HPUB and HMSG have headers in the first so many of the number
 * before, and by a line end.
 */
function relay(from: Socket, to: Socket, passes: (frame: Frame) => boolean): void {
  let bytes = Buffer.alloc(0);
  /** Until as many are there, there is no use in looking again. */
  let wanted = 0;
  from.on('data', (chunk) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    if (bytes.length < wanted) return;
    wanted = 0;
    const passed: Buffer[] = [];
    for (let at = 0; ; ) {
      const eol = bytes.indexOf('\r\n', at);
      if (eol < 0) {
        bytes = bytes.subarray(at);
        break;
      }
      const words = bytes.toString('utf8', at, eol).split(/[ \t]+/);
      const body = eol + 2;
      const carries = /^(PUB|HPUB|MSG|HMSG)$/i.test(words[0] ?? '');
      const size = carries ? Number(words.at(-1)) : 0;
      const end = carries ? body + size + 2 : body;
      if (bytes.length < end) {
        bytes = bytes.subarray(at);
        wanted = end - at;
        break;
      }
      const header = /^H/i.test(words[0] ?? '') ? Number(words.at(-2)) : 0;
      const looked = carries && size <= LOOK_BYTES;
      const payload = looked ? bytes.toString('utf8', body + header, body + size) : '';
      if (passes({ words, payload })) passed.push(bytes.subarray(at, end));
      at = end;
    }
    if (passed.length === 0 || to.write(Buffer.concat(passed))) return;
    from.pause();
    to.once('drain', () => from.resume());
  });
}

/** `PUB $JS.ACK.… 4`, `+ACK`. */
function isAck({ words, payload }: Frame): boolean {
  return (
    /^H?PUB$/i.test(words[0] ?? '') &&
    words[1]?.startsWith('$JS.ACK.') === true &&
    (payload === '+ACK' || payload === '')
  );
}

/** `MSG INBOX SID 30`, `{"stream":"…", "seq":1}`; a delivery from the log would want an answer in addition. */
function isPubAck({ words, payload }: Frame): boolean {
  const head = /^MSG$/i.test(words[0] ?? '') ? 4 : /^HMSG$/i.test(words[0] ?? '') ? 5 : 0;
  return words.length === head && /^\{"stream":.*"seq":/.test(payload);
}
