import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type Proxy as Proxied, type ToxicType, Toxiproxy } from 'toxiproxy-node-client';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { eventually } from '../support/services.ts';
import { type RunningToxiproxy, toxiproxy } from '../support/toxiproxy.ts';

// For tests of what toxiproxy does, ours and the original alike: with TOXIPROXY_URL they run against that one.

export type Stream = 'upstream' | 'downstream';
export const STREAMS: Stream[] = ['upstream', 'downstream'];
export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
/** Names of proxies that nobody else has. */
export const prefix = `t${randomBytes(4).toString('hex')}-`;

export let running: RunningToxiproxy;
export let client: Toxiproxy;
/** A new one for each test. */
export let echo: Awaited<ReturnType<typeof startEcho>>;
const peers: Peer[] = [];

/** Gives the tests of this file a toxiproxy, and each of them an echo. */
export function useToxiproxy(): void {
  beforeAll(async () => {
    running = await toxiproxy();
    client = new Toxiproxy(running.url);
  });
  afterAll(() => running?.close());

  beforeEach(async () => {
    echo = await startEcho();
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.socket.destroy();
    for (const [name, proxy] of Object.entries(await client.getAll()))
      if (name.startsWith(prefix)) await proxy.remove();
    await echo.close();
  });
}

/** One end of a connection, and all that came to it. */
export class Peer {
  readonly socket: Socket;
  readonly chunks: Buffer[] = [];
  /** `end`, or the code of the error. */
  over: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.over ??= error.code ?? error.message;
    });
    socket.on('end', () => {
      this.over ??= 'end';
    });
    peers.push(this);
  }

  get received(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get length(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}

/** Sends back what it gets, unless told to be silent. */
async function startEcho() {
  const seen: Peer[] = [];
  const it = { seen, silent: false, address: '', close: async () => {} };
  const server = createServer({ noDelay: true }, (socket) => {
    const peer = new Peer(socket);
    seen.push(peer);
    socket.on('data', (chunk) => {
      if (!it.silent && !socket.write(chunk)) socket.pause();
    });
    socket.on('drain', () => socket.resume());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  it.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  it.close = async () => {
    for (const { socket } of seen) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  return it;
}

let names = 0;
/** A proxy to the echo. */
export function create(more: { listen?: string; enabled?: boolean } = {}): Promise<Proxied> {
  const listen = `${new URL(running.url).hostname}:0`;
  return client.createProxy({
    name: `${prefix}${++names}`,
    listen,
    upstream: echo.address,
    ...more,
  });
}

export async function dial({ listen }: { listen: string }): Promise<Peer> {
  const at = new URL(`tcp://${listen}`);
  const socket = connect({ host: at.hostname, port: Number(at.port), noDelay: true });
  const peer = new Peer(socket);
  await once(socket, 'connect');
  return peer;
}

/** A connection that has worked once. */
export async function talk(proxy: Proxied): Promise<Peer> {
  const peer = await dial(proxy);
  await said(peer, 'hello');
  return peer;
}

/** Sends it and waits for the echo. Returns how long that took, ms. */
export async function said(peer: Peer, words: string | Buffer): Promise<number> {
  const from = performance.now();
  const whole = peer.length + words.length;
  peer.socket.write(words);
  await eventually(() => peer.length >= whole, { what: 'the echo', everyMs: 2 });
  return performance.now() - from;
}

export function poison(
  proxy: Proxied,
  type: ToxicType,
  stream: Stream,
  attributes: object,
  toxicity = 1,
) {
  return proxy.addToxic({ name: `${type}_${stream}`, type, stream, toxicity, attributes });
}

/** The other end of a connection just made. */
export function lastSeen(): Peer {
  const peer = echo.seen.at(-1);
  if (peer === undefined) throw new Error('nobody has connected');
  return peer;
}

/** Milliseconds until `check` holds. */
export async function timed(what: string, check: () => boolean): Promise<number> {
  const from = performance.now();
  await eventually(check, { what, everyMs: 2 });
  return performance.now() - from;
}
