import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Stands between the store and Postgres to do what networks do. `cut` ends the client's side only: the server goes
 * on with what it was asked, as when a node is cut off with a statement in flight.
 */
export async function startProxy(databaseUrl: string) {
  const target = new URL(databaseUrl);
  const clients = new Set<Socket>();
  const servers = new Set<Socket>();
  let frozen = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    clients.add(client);
    servers.add(upstream);
    client.on('error', () => {});
    upstream.on('error', () => {});
    client.on('data', (chunk) => {
      if (!frozen) upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (!frozen) client.write(chunk);
    });
    client.on('close', () => clients.delete(client));
    upstream.on('close', () => {
      servers.delete(upstream);
      client.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cut() {
      for (const client of clients) client.destroy();
    },
    /** Swallows everything from now on, or lets what is new through again. */
    freeze(on: boolean) {
      frozen = on;
    },
    close() {
      server.close();
      for (const socket of [...clients, ...servers]) socket.destroy();
    },
  };
}
