import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Direction, Link, type Toxic } from './toxiproxyLink.ts';

interface Connection {
  readonly sockets: readonly [client: Socket, upstream: Socket];
  readonly links: Readonly<Record<Direction, Link>>;
}

/** A listener, where it leads, and what happens to the bytes on the way. */
export class ToxicProxy {
  readonly name: string;
  listen: string;
  upstream: string;
  readonly #toxics: Toxic[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<Connection>();
  #server: Server | undefined;

  constructor(name: string, listen: string, upstream: string) {
    this.name = name;
    this.listen = listen;
    this.upstream = upstream;
  }

  get enabled(): boolean {
    return this.#server !== undefined;
  }

  /** Those of the upstream direction first. */
  get toxics(): Toxic[] {
    return [...this.#of('upstream'), ...this.#of('downstream')];
  }

  /** Listens, unless it does already. Sets `listen` to the address it really got. */
  async start(): Promise<void> {
    if (this.#server) return;
    const { host, port } = split(this.listen);
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
      this.#accept(client),
    );
    server.listen({ port, ...(host === '' ? {} : { host }) });
    await once(server, 'listening');
    this.listen = printed(server.address() as AddressInfo);
    this.#server = server;
  }

  /** Closes the listener and every connection. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = new Promise((done) => server.close(done));
    for (const socket of this.#sockets) {
      if (this.#resets()) socket.resetAndDestroy();
      else socket.destroy();
    }
    await closed;
  }

  /** Whether it would have to listen or lead elsewhere. */
  async differs(listen: string, upstream: string): Promise<boolean> {
    if (upstream !== this.upstream) return true;
    const { host, port } = split(listen);
    const { address, family } = host === '' ? anywhere : await lookup(host);
    return printed({ address, port, family: `IPv${family}` }) !== this.listen;
  }

  addToxic(toxic: Toxic): void {
    this.#toxics.push(toxic);
    for (const { links } of this.#connections) links[toxic.stream].add(toxic);
  }

  /** Its attributes or its toxicity are others now. */
  changeToxic(toxic: Toxic): void {
    for (const { links } of this.#connections) links[toxic.stream].change(toxic);
  }

  removeToxic(toxic: Toxic): void {
    this.#toxics.splice(this.#toxics.indexOf(toxic), 1);
    for (const { links } of this.#connections) links[toxic.stream].remove(toxic);
  }

  #of(stream: Direction): Toxic[] {
    return this.#toxics.filter((toxic) => toxic.stream === stream);
  }

  #resets(): boolean {
    return this.#toxics.some((toxic) => toxic.type === 'reset_peer');
  }

  #accept(client: Socket) {
    const { host, port } = split(this.upstream);
    const upstream = connect({
      port,
      host: host === '' ? 'localhost' : host,
      allowHalfOpen: true,
      noDelay: true,
    });
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      // Told by its close.
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    }
    const refused = () => client.destroy();
    upstream.once('close', refused);
    upstream.once('connect', () => {
      upstream.off('close', refused);
      if (client.destroyed) return void upstream.destroy();
      this.#link(client, upstream);
    });
  }

  #link(client: Socket, upstream: Socket) {
    const resets = () => this.#resets();
    const connection: Connection = {
      sockets: [client, upstream],
      links: {
        upstream: new Link(client, upstream, this.#of('upstream'), resets),
        downstream: new Link(upstream, client, this.#of('downstream'), resets),
      },
    };
    this.#connections.add(connection);
    for (const socket of connection.sockets)
      socket.on('close', () => {
        if (connection.sockets.every((each) => each.closed)) this.#connections.delete(connection);
      });
  }
}

const anywhere = { address: '::', family: 6 };

function split(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  const port = Number(address.slice(at + 1));
  if (at < 0 || address.length === at + 1 || !Number.isInteger(port))
    throw new Error(`address ${address}: missing port in address`);
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port };
}

function printed({ address, port, family }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}
