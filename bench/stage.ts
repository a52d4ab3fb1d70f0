import { join } from 'node:path';
import pg from 'pg';
import { freePort, pause } from '../src/dev/process.ts';
import { type Child, startChild } from './child.ts';
import { cpuSeconds } from './cpu.ts';
import type { Kind, Peer, Place } from './peer.ts';
import type { Profiler } from './profiler.ts';
import type { Server, Servers } from './servers.ts';

/** A peer and the module that exports it; both is needed, since its processes load it themselves. */
export interface Contender {
  module: string;
  peer: Peer;
}

export interface StageOptions {
  contender: Contender;
  kind: Kind;
  servers: Servers;
  tuned?: boolean;
  slowAtOnce?: number;
  /** Workers that may be started. */
  workers?: number;
  /** Measured in the database and namespace of this name, which stay; else in new ones. */
  lasting?: string;
  execArgv?: readonly string[];
  profiler?: Profiler | undefined;
}

const PROGRESS_TIMEOUT_MS = 120_000;
let stages = 0;

/** Everything one measurement needs: a place nobody was in before, and the processes in it. */
export class Stage {
  readonly place: Place;
  readonly servers: readonly Server[];
  readonly workers: Child[] = [];
  client!: Child;
  readonly #options: StageOptions;
  readonly #database: string | undefined;

  private constructor(options: StageOptions, place: Place, servers: Server[], database?: string) {
    this.#options = options;
    this.place = place;
    this.servers = servers;
    this.#database = database;
  }

  static async open(options: StageOptions): Promise<Stage> {
    const { contender, servers: all, kind, lasting, workers = 1 } = options;
    const number = ++stages;
    const name = lasting ?? `${kind}${number}`;
    // What they hold of other measurements would cost something in this one.
    for (const one of contender.peer.servers) if (/^re(dis|state)/.test(one)) await all.drop(one);
    const servers = await Promise.all(contender.peer.servers.map((one) => all.get(one)));
    const urlOf = (begin: string) =>
      servers[contender.peer.servers.findIndex((one) => one.startsWith(begin))];
    const postgres = urlOf('postgres')?.url;
    const database = postgres && (await newDatabase(postgres, name, lasting !== undefined));
    const place: Place = {
      name,
      kind,
      tuned: options.tuned ?? false,
      worker: 0,
      slowAtOnce: options.slowAtOnce ?? 25,
      marks: join(all.dir, `marks-${number}`),
      databaseUrl: database ?? '',
      natsUrl: urlOf('nats')?.url ?? '',
      redisPort: Number(urlOf('redis')?.url ?? 0),
      restate: {
        ingress: urlOf('restate')?.url ?? '',
        admin: urlOf('restate')?.adminUrl ?? '',
        endpoints: await Promise.all(Array.from({ length: workers }, () => freePort())),
      },
      prefix: `p${number}x`,
    };
    const stage = new Stage(options, place, servers, postgres);
    try {
      stage.client = stage.#start('client', place);
      await stage.client.ready;
      return stage;
    } catch (error) {
      await stage.close().catch(() => {});
      throw error;
    }
  }

  /** Starts a worker; it takes work when its `ready` has resolved. */
  startWorker(): Child {
    const worker = this.#start('worker', { ...this.place, worker: this.workers.length });
    this.workers.push(worker);
    return worker;
  }

  #start(role: 'worker' | 'client', place: Place): Child {
    const { contender, execArgv = [], profiler } = this.#options;
    return startChild({
      module: contender.module,
      peer: contender.peer.name,
      role,
      place,
      ...(role === 'worker' && { execArgv: [...execArgv, ...(profiler?.nextWorker() ?? [])] }),
    });
  }

  /** The one of its servers whose name begins so. */
  server(begin: string): Server | undefined {
    const names = this.#options.contender.peer.servers;
    return this.servers[names.findIndex((one) => one.startsWith(begin))];
  }

  /** What a worker counts for one finished item. */
  get unitsEach(): number {
    const { contender, kind } = this.#options;
    return unitsOf(contender.peer, kind);
  }

  /** What all workers have done so far. */
  units(): number {
    return this.workers.reduce((sum, worker) => sum + worker.units, 0);
  }

  /** CPU-seconds of everything so far: servers, workers, client. */
  cpu(): Cpu {
    const servers = Object.fromEntries(
      this.servers.map((server, i) => [
        this.#options.contender.peer.servers[i] as string,
        cpuSeconds(server.pid),
      ]),
    );
    const workers = cpuSeconds(...this.workers.map((worker) => worker.pid));
    return { ...servers, workers, client: cpuSeconds(this.client.pid) };
  }

  /** Waits until the workers have done that many units. @throws Error when nothing at all is done for two minutes */
  async reached(units: number): Promise<void> {
    let changedAt = performance.now();
    for (let seen = this.units(); seen < units; ) {
      const now = this.units();
      if (now !== seen) changedAt = performance.now();
      if (performance.now() - changedAt > PROGRESS_TIMEOUT_MS)
        throw new Error(`${this.#options.contender.peer.name}: stuck at ${now} of ${units}`);
      seen = now;
      if (seen < units) await this.#changed();
    }
  }

  /** Waits until `units` was the same for so long. */
  async quiet(ms: number): Promise<number> {
    for (let seen = this.units(); ; ) {
      await pause(ms);
      const now = this.units();
      if (now === seen) return now;
      seen = now;
    }
  }

  /** The next report of any worker; looked after now and then, since a dead one reports nothing. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      const heard = () => {
        clearTimeout(timer);
        for (const worker of this.workers) worker.offUnits(heard);
        resolve();
      };
      const timer = setTimeout(heard, 100);
      for (const worker of this.workers) worker.onUnits(heard);
    });
  }

  /** Waits until the store, too, says that all is done. */
  async settled(count: number): Promise<void> {
    const deadline = performance.now() + PROGRESS_TIMEOUT_MS;
    while (!(await this.client.call<boolean>('finished', count))) {
      if (performance.now() > deadline)
        throw new Error(
          `${this.#options.contender.peer.name}: its store never said that all is done`,
        );
      await pause(5);
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.workers.map((worker) => worker.stop()));
    await this.client?.call('close').catch(() => {});
    await this.client?.stop();
    if (this.#options.lasting !== undefined) return;
    if (this.#database !== undefined) await dropDatabase(this.#database, this.place.name);
    await this.#options.contender.peer.forget?.(this.place);
  }
}

export type Cpu = Record<string, number>;

function unitsOf(peer: Peer, kind: Kind): number {
  const work = peer.workloads[kind];
  if (work === undefined || 'no' in work) throw new Error(`${peer.name} does not do ${kind}`);
  return work.units;
}

async function newDatabase(url: string, name: string, keep: boolean): Promise<string> {
  await admin(url, async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
    if (rowCount === 0 || !keep) await client.query(`CREATE DATABASE ${name}`);
    // What the last measurement left to be written is none of this one's business.
    await client.query('CHECKPOINT');
  });
  const own = new URL(url);
  own.pathname = `/${name}`;
  return own.href;
}

const dropDatabase = (url: string, name: string) =>
  admin(url, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));

async function admin(url: string, run: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await run(client);
  } finally {
    await client.end();
  }
}
