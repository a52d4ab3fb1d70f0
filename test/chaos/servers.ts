import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type RunningNats, startNats } from '../../src/dev/natsServer.ts';
import { type RunningPostgres, startPostgres } from '../../src/dev/postgres.ts';
import { freePort } from '../../src/dev/process.ts';

type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGKILL';

/** A server that is killed and started again, always at the same address on the same data. */
export interface Server {
  readonly name: string;
  readonly url: string;
  readonly running: boolean;
  stop(signal: StopSignal): Promise<void>;
  /** Resolves when it serves again; at once when it already does. */
  start(): Promise<void>;
}

/** One Postgres, and the nats-servers of one JetStream cluster. */
export interface Servers {
  readonly postgres: Server;
  readonly nats: readonly Server[];
  /** Their data goes when `stop` is done, their logs stay. */
  readonly dir: string;
  stop(): Promise<void>;
}

/**
 * Starts everything below `dir`, which a Postgres that runs as another user must be able to enter.
 * @param natsServers 1, or 3 for a cluster whose streams have three copies
 * @throws PerdureError `service_missing`
 */
export async function startServers(dir: string, natsServers: 1 | 3): Promise<Servers> {
  mkdirSync(dir, { recursive: true });
  const names = Array.from({ length: natsServers }, (_, n) => `nats${n + 1}`);
  const [postgresPort, ...ports] = await drawPorts(1 + 2 * natsServers);
  const routes = ports.slice(natsServers);
  // A client that learned of the other servers' addresses would go around the proxies.
  const clusterText = (n: number) => `cluster {
  name: chaos
  listen: 127.0.0.1:${routes[n]}
  routes: [${routes.map((port) => `"nats://127.0.0.1:${port}"`).join(', ')}]
  no_advertise: true
}`;
  // The servers of a cluster are healthy only once they have found each other: all are started at once.
  const started = await Promise.allSettled([
    serve('postgres', join(dir, 'postgres'), 'postgres.log', () =>
      startPostgres({ dir: join(dir, 'postgres'), port: postgresPort }),
    ),
    ...names.map((name, n) =>
      serve(name, join(dir, name), 'nats-server.log', () =>
        startNats({
          dir: join(dir, name),
          port: ports[n],
          ...(natsServers === 1 ? {} : { serverName: name, configText: clusterText(n) }),
        }),
      ),
    ),
  ]);
  const running = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const stop = async () => {
    await Promise.all(running.map((server) => server.stop('SIGKILL')));
  };
  const failed = started.find((one) => one.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  const [postgres, ...nats] = running as [Server, ...Server[]];
  return { postgres, nats, dir, stop };
}

/**
 * Below those that others draw from: the port of a server that was killed must still be free when it comes back, and
 * that of a route until its server binds it.
 */
async function drawPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort(10_000 + Math.floor(Math.random() * 10_000)));
  return [...ports];
}

async function serve(
  name: string,
  dir: string,
  logName: string,
  launch: () => Promise<RunningNats | RunningPostgres>,
): Promise<Server> {
  let run = await launch();
  let isRunning = true;
  let starts = 0;
  let starting: Promise<void> | undefined;
  return {
    name,
    url: run.url,
    get running() {
      return isRunning;
    },
    async stop(signal) {
      await starting?.catch(() => {});
      isRunning = false;
      await run.stop(signal);
    },
    async start() {
      if (isRunning) return;
      // A start empties the log; what it said before it was killed is what one wants to read.
      const log = join(dir, logName);
      if (existsSync(log)) renameSync(log, `${log}.${++starts}`);
      starting = launch().then((again) => {
        run = again;
        isRunning = true;
      });
      await starting;
    },
  };
}
