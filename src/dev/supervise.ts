import { pause } from './process.ts';

/** A process that runs: what `startPostgres`, `startNats` and `startNode` return. */
export interface Service {
  readonly pid: number;
  readonly exited: Promise<string>;
  stop(signal?: 'SIGKILL'): Promise<void>;
}

/** A service that is started again whenever it ends unasked. */
export interface Supervised<S extends Service> {
  /** The one that runs, or ran last. */
  readonly current: S;
  /** Ends it, and with it the supervision. */
  stop(signal?: 'SIGKILL'): Promise<void>;
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
  let stopping: 'SIGTERM' | 'SIGKILL' | undefined;
  const ended = keep();

  async function keep(): Promise<void> {
    let failures = 0;
    for (;;) {
      const since = performance.now();
      const words = await current.exited;
      if (stopping) return;
      failures = performance.now() - since > HEALTHY_MS ? 0 : failures;
      log(`${name} (pid ${current.pid}) ended: ${words}`);
      for (let again = false; !again; ) {
        const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** failures++);
        await pause(wait);
        if (stopping) return;
        try {
          current = await start();
          again = true;
        } catch (error) {
          log(`${name} does not start: ${error instanceof Error ? error.message : error}`);
        }
      }
      log(`${name} runs again (pid ${current.pid})`);
      if (stopping) await current.stop(stopping === 'SIGKILL' ? 'SIGKILL' : undefined);
      else restarted();
    }
  }

  return {
    get current() {
      return current;
    },
    async stop(signal) {
      stopping = signal ?? 'SIGTERM';
      await current.stop(signal);
      await ended;
    },
  };
}
