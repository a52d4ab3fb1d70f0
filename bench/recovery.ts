import { existsSync, readFileSync } from 'node:fs';
import { pause } from '../src/dev/process.ts';
import { familyOf } from './cpu.ts';
import { Stage, type StageOptions } from './stage.ts';

const JOBS = 50;
const WORKERS = 2;
/** Longer is not waited for. */
const RECOVERY_CAP_SECONDS = 120;

export interface Recovery {
  /** From kill -9 until all 50 were done; undefined: not within the cap. */
  seconds: number | undefined;
  /** Of the 50, those that ran on the killed worker. */
  killed: number;
  /** Done when the waiting ended. */
  done: number;
}

/** 50 one-second jobs run on two workers; one of them is killed. */
export async function recovery(options: Omit<StageOptions, 'kind'>): Promise<Recovery> {
  const stage = await Stage.open({
    ...options,
    kind: 'slow',
    workers: WORKERS,
    slowAtOnce: JOBS / WORKERS,
  });
  try {
    const workers = Array.from({ length: WORKERS }, () => stage.startWorker());
    await Promise.all(workers.map((worker) => worker.ready));
    // Members of a cluster find each other first.
    await pause(3_000);
    await stage.client.call('bulk', JOBS);
    await allStarted(stage.place.marks);
    const { started } = read(stage.place.marks);
    const loads = workers.map((worker) => {
      const family = familyOf(worker.pid);
      return started.filter((job) => family.includes(job.pid)).length;
    });
    const busiest = loads.indexOf(Math.max(...loads));
    const [victim] = stage.workers.splice(busiest, 1);
    const killedAt = performance.now();
    await victim?.kill();
    const deadline = killedAt + RECOVERY_CAP_SECONDS * 1_000;
    while (read(stage.place.marks).done.size < JOBS && performance.now() < deadline)
      await pause(20);
    const seconds = (performance.now() - killedAt) / 1_000;
    const done = read(stage.place.marks).done.size;
    return { seconds: done < JOBS ? undefined : seconds, killed: loads[busiest] ?? 0, done };
  } finally {
    await stage.close();
  }
}

/** All run, or the first of them are about to end. */
async function allStarted(marks: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (let firstAt = Number.POSITIVE_INFINITY; ; await pause(10)) {
    const { started } = read(marks);
    if (new Set(started.map((job) => job.id)).size >= JOBS) return;
    if (started.length > 0) firstAt = Math.min(firstAt, performance.now());
    if (performance.now() > firstAt + 800) return;
    if (performance.now() > deadline) throw new Error('no slow job has started');
  }
}

function read(marks: string) {
  const lines = existsSync(marks) ? readFileSync(marks, 'utf8').trim().split('\n') : [];
  const rows = lines.map((line) => line.split(' '));
  const started = rows
    .filter(([what]) => what === 's')
    .map(([, id = '', pid]) => ({ id, pid: Number(pid) }));
  return { started, done: new Set(rows.filter(([what]) => what === 'd').map(([, id]) => id)) };
}
