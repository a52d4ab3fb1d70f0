import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { startDaemon } from '../../src/dev/daemon.ts';
import { unpacked } from '../debian.ts';
import type { Client, Peer, Place, ServerName, Worker } from '../peer.ts';

const PACKAGES = ['python3-celery', 'python3-redis'];
/** The one the packages are built for. */
const PYTHON = '/usr/bin/python3';
const debian = existsSync(PYTHON)
  ? await unpacked(PACKAGES)
  : Promise.reject(new Error(`there is no ${PYTHON}: install Debian's python3`));
const { root, versions } = await debian;
/** One for each core, as it does by itself. */
const PROCESSES = 2;
const LOOK_MS = 50;

function celery(name: string, redis: ServerName, caveat: string, variantOf?: string): Peer {
  return {
    name,
    servers: [redis],
    versions: () => versions,
    settings: [
      'prefork, 2 processes (one-second jobs: 25 threads), worker_prefetch_multiplier 64, task_acks_late, task_ignore_result, no events, no gossip, mingle or heartbeat',
      'recovery by default: acks early, as it does by itself; when tuned: task_acks_late, task_reject_on_worker_lost, visibility_timeout 5 s',
      'put by delay() in 4 threads',
    ],
    caveats: [
      caveat,
      'Python; a finished job leaves nothing',
      'a flow is a chain of three tasks: the whole chain travels in the message; there is no instance to look at',
      'a task with an ETA is held in memory of a worker and is delivered again after the visibility timeout',
      'with a visibility timeout of 5 s, a task that takes longer runs twice at once',
    ],
    scale: 0.05,
    workloads: {
      noop: { units: 1 },
      flow: { units: 1 },
      events: { no: 'no instances that live on' },
      slow: variantOf ? { no: `as ${variantOf}` } : { units: 1 },
      sleep: variantOf ? { no: `as ${variantOf}` } : { units: 0, count: 10_000 },
    },
    worker,
    client,
  };
}

export const peers: readonly Peer[] = [
  celery(
    'celery, fsync always',
    'redis-always',
    'an accepted job is on disk before its publisher hears of it',
  ),
  celery(
    'celery, fsync everysec',
    'redis-everysec',
    'an accepted job may be lost when the machine dies within a second',
    'celery, fsync always',
  ),
];

const environment = (place: Place) => ({
  ...process.env,
  PYTHONPATH: [join(root, 'usr/lib/python3/dist-packages'), import.meta.dirname].join(':'),
  PYTHONDONTWRITEBYTECODE: '1',
  BENCH_PLACE: JSON.stringify(place),
});

/** What is neither waiting nor being done is done: a worker says nothing that could be counted. */
class Undone {
  readonly #redis: Redis;

  constructor({ redisPort }: Place) {
    this.#redis = new Redis({ host: '127.0.0.1', port: redisPort });
  }

  async count(): Promise<number> {
    const [waiting, taken] = await Promise.all([
      this.#redis.llen('celery'),
      this.#redis.hlen('unacked'),
    ]);
    return waiting + taken;
  }

  close(): void {
    this.#redis.disconnect();
  }
}

async function worker(place: Place): Promise<Worker> {
  const slow = place.kind === 'slow';
  const daemon = await startDaemon({
    command: PYTHON,
    args: [
      ...['-m', 'celery', '-A', 'celery_tasks', 'worker', '--loglevel=ERROR'],
      ...(slow
        ? ['--pool=threads', `--concurrency=${place.slowAtOnce}`]
        : [`--concurrency=${PROCESSES}`]),
      ...[
        '--without-gossip',
        '--without-mingle',
        '--without-heartbeat',
        '-n',
        `w${place.worker}@bench`,
      ],
    ],
    env: { ...environment(place), C_FORCE_ROOT: '1' },
    orphaned: [{ afterSeconds: 0, signal: 'KILL' }],
  });
  const undone = new Undone(place);
  let units = 0;
  let most = 0;
  const look = setInterval(async () => {
    const now = await undone.count().catch(() => most);
    most = Math.max(most, now);
    units = most - now;
  }, LOOK_MS);
  return {
    units: () => units,
    async stop() {
      clearInterval(look);
      await daemon.stop(['SIGKILL'], 5_000);
      undone.close();
    },
  };
}

async function client(place: Place): Promise<Client> {
  const undone = new Undone(place);
  const python = spawn(PYTHON, ['-c', 'import celery_tasks; celery_tasks.main()'], {
    env: environment(place),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(python.stdout as NonNullable<ChildProcess['stdout']>);
  await once(lines, 'line');
  const ask = async (command: { call: string; count?: number }) => {
    python.stdin?.write(`${JSON.stringify(command)}\n`);
    await once(lines, 'line');
  };
  const many = (count: number) => ask({ call: 'many', count });
  return {
    bulk: many,
    each: many,
    one: () => ask({ call: 'one' }),
    finished: async (count) => (await undone.count()) === (place.kind === 'sleep' ? count : 0),
    async close() {
      python.stdin?.end();
      undone.close();
      const redis = new Redis({ host: '127.0.0.1', port: place.redisPort });
      await redis.flushall();
      redis.disconnect();
    },
  };
}
