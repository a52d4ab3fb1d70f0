import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Daemon, startDaemon, tail } from '../src/dev/daemon.ts';
import { startNats } from '../src/dev/natsServer.ts';
import { startPostgres } from '../src/dev/postgres.ts';
import { freePort, pause } from '../src/dev/process.ts';
import { unpacked } from './debian.ts';
import type { ServerName } from './peer.ts';
import { countStatements, preload } from './statements.ts';

/** One server of one measurement or of all of them; listens on 127.0.0.1 only. */
export interface Server {
  readonly pid: number;
  /** How a client reaches it: a URL, or a port. */
  readonly url: string;
  readonly adminUrl?: string;
  /** Where it tells what it spends its time on, when it was started to. */
  readonly profileUrl?: string;
  /** Where its data is. */
  readonly dir: string;
  readonly versions: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** What is said of each server in the results. */
export const SERVER_SETTINGS: Record<ServerName, string> = {
  postgres:
    'fsync=on, synchronous_commit=on, full_page_writes=on, shared_buffers=128MB, max_wal_size=1GB',
  nats: 'JetStream, file storage, one replica, sync_interval: always',
  'nats-default': 'JetStream, file storage, one replica, sync_interval: 2 minutes (the default)',
  'redis-always': 'appendonly yes, appendfsync always, save "", maxmemory-policy noeviction',
  'redis-everysec': 'appendonly yes, appendfsync everysec, save "", maxmemory-policy noeviction',
  restate:
    'one node, all roles, defaults (its log is synced: rocksdb-disable-wal-fsync = false), telemetry off',
};

/** The servers of a run: each is started when it is first asked for. */
export class Servers {
  readonly dir = mkdtempSync(join(tmpdir(), 'perdure-bench-'));
  readonly #running = new Map<ServerName, Promise<Server>>();
  readonly #profiled: boolean;

  /** @param options.profiled Postgres and NATS account for their time, which costs them some. */
  constructor({ profiled = false }: { profiled?: boolean } = {}) {
    this.#profiled = profiled;
    // Postgres may run as another user.
    chmodSync(this.dir, 0o755);
  }

  get(name: ServerName): Promise<Server> {
    const known = this.#running.get(name);
    if (known !== undefined) return known;
    const started = START[name](join(this.dir, name), this.#profiled);
    this.#running.set(name, started);
    // One that has failed to start is tried again the next time.
    started.catch(() => this.#running.delete(name));
    return started;
  }

  /** Ends a server and forgets its data, so that the next `get` finds a new one. */
  async drop(name: ServerName): Promise<void> {
    const server = await this.#running.get(name);
    this.#running.delete(name);
    await server?.stop();
    rmSync(join(this.dir, name), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    const all = [...this.#running.values()];
    const servers = (await Promise.allSettled(all)).flatMap((one) =>
      one.status === 'fulfilled' ? [one.value] : [],
    );
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const START: Record<ServerName, (dir: string, profiled: boolean) => Promise<Server>> = {
  postgres,
  nats: async (dir, profiled) => {
    if (!profiled) return await nats(dir);
    // It listens where the server itself does: on the loopback interface.
    const port = await freePort();
    return { ...(await nats(dir, `prof_port: ${port}`)), profileUrl: `http://127.0.0.1:${port}` };
  },
  // The whole block again: the last one counts.
  'nats-default': (dir) =>
    nats(
      dir,
      `jetstream { store_dir: ${JSON.stringify(join(dir, 'jetstream'))}, sync_interval: "2m" }`,
    ),
  'redis-always': (dir) => redis(dir, 'always'),
  'redis-everysec': (dir) => redis(dir, 'everysec'),
  restate,
};

async function postgres(dir: string, profiled: boolean): Promise<Server> {
  let server = await startPostgres({ dir });
  if (profiled) {
    // The library counts in memory that is shared out when the server starts.
    await preload(server.url, 'pg_stat_statements');
    await server.stop();
    server = await startPostgres({ dir });
    await countStatements(server.url);
  }
  const { pid, url, stop } = server;
  return {
    ...{ pid, url, dir, versions: {} },
    ...(profiled && { profileUrl: url }),
    stop: () => stop('SIGKILL'),
  };
}

async function nats(dir: string, configText = ''): Promise<Server> {
  const { pid, url, stop } = await startNats({ dir, configText });
  return { pid, url, dir, versions: {}, stop: () => stop('SIGKILL') };
}

async function redis(dir: string, appendfsync: string): Promise<Server> {
  const { command, env, versions } = await redisCommand();
  mkdirSync(dir, { recursive: true });
  const port = await freePort();
  const settings = {
    bind: '127.0.0.1',
    port: String(port),
    dir,
    appendonly: 'yes',
    appendfsync,
    save: '',
    'maxmemory-policy': 'noeviction',
    daemonize: 'no',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const daemon = await startDaemon({
    command,
    args,
    env,
    logFile: join(dir, 'log'),
    orphaned: ORPHANED,
  });
  await until(daemon, dir, () => answers(port, 'PING\r\n'));
  return {
    pid: daemon.pid,
    url: String(port),
    dir,
    versions,
    stop: () => daemon.stop(['SIGKILL'], 5_000),
  };
}

/** The machine's own redis or valkey, else Debian's. */
async function redisCommand() {
  for (const name of ['valkey-server', 'redis-server'])
    for (const dir of (process.env.PATH ?? '').split(delimiter))
      if (existsSync(join(dir, name)))
        return {
          command: join(dir, name),
          env: process.env,
          versions: { [name]: "this machine's" },
        };
  const { root, versions } = await unpacked(['redis-server']);
  return {
    command: join(root, 'usr', 'bin', 'redis-server'),
    env: { ...process.env, LD_LIBRARY_PATH: join(root, 'usr', 'lib', `${gnuArch()}-linux-gnu`) },
    versions,
  };
}

const gnuArch = () => (process.arch === 'arm64' ? 'aarch64' : 'x86_64');

/** A package of bench/peers, not of ours. */
const RESTATE = '@restatedev/restate-server';

async function restate(dir: string): Promise<Server> {
  const require = createRequire(new URL('./peers/package.json', import.meta.url));
  const wrapper = createRequire(require.resolve(`${RESTATE}/package.json`));
  const name = `${RESTATE}-${process.platform}-${process.arch}`;
  const command = join(wrapper.resolve(`${name}/package.json`), '..', 'bin', 'restate-server');
  mkdirSync(dir, { recursive: true });
  const [ingress, admin, fabric] = [await freePort(), await freePort(), await freePort()];
  const config = join(dir, 'restate.toml');
  writeFileSync(
    config,
    `node-name = "bench"
base-dir = ${JSON.stringify(join(dir, 'data'))}
listen-mode = "tcp"
bind-address = "127.0.0.1:${fabric}"
advertised-address = "http://127.0.0.1:${fabric}"
disable-telemetry = true
log-filter = "warn"
[ingress]
bind-address = "127.0.0.1:${ingress}"
[admin]
bind-address = "127.0.0.1:${admin}"
`,
  );
  const daemon = await startDaemon({
    command,
    args: ['--config-file', config, '--no-logo'],
    cwd: dir,
    logFile: join(dir, 'log'),
    orphaned: ORPHANED,
  });
  const healthy = (port: number, path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2_000) }).then(
      (r) => r.ok,
    );
  await until(daemon, dir, () => healthy(admin, '/health'));
  await until(daemon, dir, () => healthy(ingress, '/restate/health'));
  return {
    pid: daemon.pid,
    url: `http://127.0.0.1:${ingress}`,
    adminUrl: `http://127.0.0.1:${admin}`,
    dir: join(dir, 'data'),
    versions: {},
    stop: () => daemon.stop(['SIGKILL'], 5_000),
  };
}

const ORPHANED = [{ afterSeconds: 5, signal: 'KILL' }] as const;
const START_TIMEOUT_MS = 60_000;

async function until(daemon: Daemon, dir: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await check().catch(() => false))) {
    if (!daemon.running || performance.now() > deadline) {
      await daemon.stop(['SIGKILL'], 5_000);
      throw new Error(`a server did not start: ${tail(join(dir, 'log'))}`);
    }
    await pause(50);
  }
}

function answers(port: number, question: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(question));
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
