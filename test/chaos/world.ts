import { join } from 'node:path';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { namespace } from '../../src/config.ts';
import { openSql, type Place, prepare, type Sql } from '../support/cluster.ts';
import { type Line, type Network, openNetwork } from '../support/network.ts';

import { type ChaosNode, chaosNode } from './nodes.ts';
import type { Servers } from './servers.ts';

/** A node that has ended by itself is started again after this, ms. */
const RESTART_MS = 1_000;

export interface WorldOptions {
  servers: Servers;
  namespace: string;
  /** How many nodes, called n1, n2, …; none is started yet. */
  nodes: number;
  /** Exports the actor types of the nodes. */
  file: string;
  env: Record<string, string>;
  /** Where the nodes' logs go. */
  logs: string;
  /** Whether every node has lines of its own that can be cut. */
  proxied: boolean;
}

/** Several nodes of one namespace. The place is the servers themselves: the lines of whoever looks on are never cut. */
export interface World extends Place {
  readonly servers: Servers;
  readonly nodes: readonly ChaosNode[];
  /** Lets go of a connection that has died and opens another at the next question. */
  readonly sql: Sql;
  /** What nodes did that nobody did to them. */
  readonly surprises: readonly string[];
  /** @throws Error in a world that is not proxied */
  line(node: ChaosNode): Line;
  /** A manager of the namespace's streams. */
  jsm(): Promise<JetStreamManager>;
  /** Every line whole, every server and every node running; returns once the nodes are ready. */
  heal(): Promise<void>;
  /** Kills the nodes. The servers are somebody else's. */
  close(): Promise<void>;
}

export async function openWorld(options: WorldOptions): Promise<World> {
  const { servers, proxied, nodes: count, logs } = options;
  const place: Place = {
    namespace: options.namespace,
    databaseUrl: servers.postgres.url,
    natsUrl: servers.nats.map(({ url }) => url).join(','),
  };
  await prepare(place);
  const surprises: string[] = [];
  let closing = false;
  const names = Array.from({ length: count }, (_, n) => `n${n + 1}`);
  let network: Network | undefined;
  const lines = new Map<string, Line>();
  if (proxied) {
    const natsUrls = servers.nats.map(({ url }) => url);
    network = await openNetwork({ natsUrls, databaseUrl: place.databaseUrl });
    for (const name of names) lines.set(name, await network.line(name));
  }
  const nodes = names.map((name) => {
    const { natsUrl, databaseUrl } = lines.get(name) ?? place;
    const own: ChaosNode = chaosNode({
      ...{ name, natsUrl, databaseUrl, namespace: place.namespace },
      file: options.file,
      env: options.env,
      replicas: servers.nats.length,
      logs,
      ended(words) {
        surprises.push(words);
        // As whoever supervises it would.
        setTimeout(() => closing || own.start().catch(() => {}), RESTART_MS).unref();
      },
    });
    return own;
  });
  const sql = steadySql(place);
  let nc: Promise<NatsConnection> | undefined;

  return {
    ...place,
    servers,
    nodes,
    sql,
    surprises,
    line(node) {
      const line = lines.get(node.name);
      if (!line) throw new Error('The lines of this world cannot be cut.');
      return line;
    },
    async jsm() {
      nc ??= connect({ servers: place.natsUrl.split(','), maxReconnectAttempts: -1 });
      nc.catch(() => {
        nc = undefined;
      });
      return jetstreamManager(await nc, { checkAPI: false });
    },
    async heal() {
      await network?.heal();
      for (const node of nodes) node.signal('SIGCONT');
      await Promise.all([servers.postgres, ...servers.nats].map((server) => server.start()));
      await Promise.all(nodes.map((node) => node.start()));
    },
    async close() {
      closing = true;
      await Promise.all(nodes.map((node) => node.stop('SIGKILL')));
      // Ctrl-C in a terminal reaches the proxies as well as us: they may be gone.
      await Promise.allSettled([network?.close(), sql.close(), nc?.then((open) => open.close())]);
    },
  };
}

function steadySql(place: Place): Sql {
  let open: Promise<Sql> | undefined;
  const forget = () => {
    const dead = open;
    open = undefined;
    void dead?.then((sql) => sql.close()).catch(() => {});
  };
  return {
    async query<R>(text: string, values: unknown[] = []) {
      open ??= openSql(place);
      try {
        return await (await open).query<R>(text, values);
      } catch (error) {
        forget();
        throw error;
      }
    },
    async close() {
      forget();
    },
  };
}

/** The server that leads the log; undefined while there is none. */
export async function logLeader(world: World) {
  const { jobsStream } = namespace(world.namespace);
  const { cluster } = await (await world.jsm()).streams.info(jobsStream);
  return world.servers.nats.find(({ name }) => name === cluster?.leader);
}

/** The file the nodes' actors write their journal to. */
export const journalFile = (dir: string) => join(dir, 'journal.jsonl');
