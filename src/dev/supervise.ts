import { sleep, systemClock } from '../clock.ts';
import { asError } from '../errors.ts';

/** A process that runs: what `startPostgres`, `startNats` and `startNode` return. */
export interface Service {
  readonly pid: number;
  readonly exited: Promise<string>;
  stop(): Promise<void>;
}

/** A service that is started again whenever it ends unasked. */
export interface Supervised<S extends Service> {
  /** The one that runs, or ran last. */
  readonly current: S;
  /** Ends it, and with it the supervision. */
  stop(): Promise<void>;
}

const BACKOFF_MS = 250;
const BACKOFF_MAX_MS = 5_000;
/** A service that ran this long has recovered; the next wait is short again. */
const HEALTHY_MS = 10_000;

/**
 * Starts a service and starts it again, later each time, when it ends unasked. The first start must succeed;
 * its error is the caller's.
 */
export async function supervise<S extends Service>(options: {
  name: string;
  start: () => Promise<S>;
  log: (line: string) => void;
  /** Called after each start but the first. */
  restarted: () => void;
}): Promise<Supervised<S>> {
  const { name, start, log, restarted } = options;
  let current = await start();
  const stopping = new AbortController();
  const { signal } = stopping;
  const ended = keep();

  async function keep(): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const since = performance.now();
      const words = await current.exited;
      if (signal.aborted) return;
      log(`${name} (pid ${current.pid}) ended: ${words}`);
      if (performance.now() - since > HEALTHY_MS) failures = 0;
      while (!(await startAgain(failures++)) && !signal.aborted);
    }
  }

  async function startAgain(failures: number): Promise<boolean> {
    await sleep(systemClock, Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** failures), signal);
    if (signal.aborted) return false;
    try {
      current = await start();
    } catch (error) {
      log(`${name} does not start: ${asError(error).message}`);
      return false;
    }
    if (signal.aborted) {
      await current.stop();
    } else {
      log(`${name} runs again (pid ${current.pid})`);
      restarted();
    }
    return true;
  }

  return {
    get current() {
      return current;
    },
    async stop() {
      stopping.abort();
      await current.stop();
      await ended;
    },
  };
}
