import { writeSync } from 'node:fs';
import inspector from 'node:inspector';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

const BEAT_MS = 250;

/** What both threads see: counts the main thread's beats. */
const BEATS = 0;
/** 1 while a debugger may hold the main thread. */
const DEBUGGED = 1;

interface Watched {
  hangWatch: { shared: SharedArrayBuffer; blockedMaxMs: number };
}

/**
 * Kills this process once its event loop has been blocked for `blockedMaxMs`: it cannot renew a lease or stop any
 * more, so that whoever started it had better start it again. Says so in one line on stderr first. Only for a process
 * that is ours. 0: never.
 */
export function watchForHangs(blockedMaxMs: number): void {
  if (blockedMaxMs === 0) return;
  const shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  const seen = new Int32Array(shared);
  const beat = () => {
    Atomics.add(seen, BEATS, 1);
    Atomics.store(seen, DEBUGGED, inspector.url() === undefined ? 0 : 1);
  };
  beat();
  setInterval(beat, BEAT_MS).unref();
  const worker = new Worker(new URL(import.meta.url), {
    name: 'hang watch',
    workerData: { hangWatch: { shared, blockedMaxMs } } satisfies Watched,
    // Only what the file itself needs; a user's --import or heap size is none of its business.
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  });
  // The watch must not be what ends the node.
  worker.on('error', (error) => {
    writeSync(2, `${line(40, { error: error.message }, 'hang watch: ended')}\n`);
  });
  worker.unref();
}

/**
 * Counts its own ticks between two beats, and no clock: while the process is stopped or the machine sleeps, neither
 * thread gets on, and the clock would tell of a hang that was none.
 */
function watch({ shared, blockedMaxMs }: Watched['hangWatch']): void {
  const seen = new Int32Array(shared);
  const ticksMax = Math.ceil(blockedMaxMs / BEAT_MS);
  let beats = Atomics.load(seen, BEATS);
  let ticks = 0;
  setInterval(() => {
    const now = Atomics.load(seen, BEATS);
    const alive = now !== beats || Atomics.load(seen, DEBUGGED) === 1;
    beats = now;
    ticks = alive ? 0 : ticks + 1;
    if (ticks < ticksMax) return;
    const blockedMs = ticks * BEAT_MS;
    const words = `event loop: blocked for ${blockedMs / 1_000} s, ending this process; it must be started again`;
    try {
      // Past the streams, which live on the thread that hangs.
      writeSync(2, `${line(60, { blockedMs }, words)}\n`);
    } finally {
      process.kill(process.pid, 'SIGKILL');
    }
  }, BEAT_MS);
}

/** One line as the log of a node has them. */
const line = (level: number, fields: object, msg: string): string =>
  JSON.stringify({ level, time: Date.now(), pid: process.pid, name: 'perdure', ...fields, msg });

const data = workerData as Watched | null;
if (!isMainThread && data?.hangWatch) watch(data.hangWatch);
