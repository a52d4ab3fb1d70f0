import { AsyncLocalStorage, createHook } from 'node:async_hooks';

/** One run of user code, and what it waits for in the real world. */
interface Work {
  readonly name: string;
  isOver: boolean;
  /** Timers, sockets, file requests and the like that it has begun, by async id. */
  readonly open: Map<number, string>;
}

const running = new AsyncLocalStorage<Work | undefined>();
const owners = new Map<number, Work>();
let watching = 0;

/** What settles by itself once that which it waits for has come. */
const INNER = new Set(['PROMISE', 'TickObject', 'Microtask', 'AsyncResource']);

const hook = createHook({
  init(asyncId, type) {
    const work = running.getStore();
    if (!work || work.isOver || INNER.has(type)) return;
    work.open.set(asyncId, type);
    owners.set(asyncId, work);
  },
  destroy(asyncId) {
    owners.get(asyncId)?.open.delete(asyncId);
    owners.delete(asyncId);
  },
});

/**
 * What the user code of one cluster waits for outside of this process. A promise that waits for nothing and one that
 * waits for a timer look the same from outside; what Node.js tells of its resources makes the difference.
 */
export class RealWork {
  readonly #works = new Set<Work>();

  constructor() {
    if (watching++ === 0) hook.enable();
  }

  /** Runs user code, and watches it until the promise it returns has settled. */
  run(name: string, run: () => unknown): unknown {
    const work: Work = { name, isOver: false, open: new Map() };
    this.#works.add(work);
    try {
      const result = running.run(work, run);
      if (!(result instanceof Promise)) this.#end(work);
      else
        result.then(
          () => this.#end(work),
          () => this.#end(work),
        );
      return result;
    } catch (thrown) {
      this.#end(work);
      throw thrown;
    }
  }

  /** Who waits, and for what: `charge of order/o-1 (Timeout)`. */
  get open(): string[] {
    return Array.from(this.#works)
      .filter(({ open }) => open.size > 0)
      .map(({ name, open }) => `${name} (${[...new Set(open.values())].join(', ')})`);
  }

  /** What runs now is nobody's concern any more. */
  forget(): void {
    for (const work of this.#works) this.#end(work);
  }

  stop(): void {
    this.forget();
    if (--watching === 0) hook.disable();
  }

  #end(work: Work): void {
    work.isOver = true;
    this.#works.delete(work);
    for (const asyncId of work.open.keys()) owners.delete(asyncId);
    work.open.clear();
  }
}

/** Runs what is nobody's user code, such as the engine. */
export const asNobody = <T>(run: () => T): T => running.run(undefined, run);
