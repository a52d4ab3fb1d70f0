import type { Socket } from 'node:net';
import { type Chunk, type Pipe, type ToxicKind, toxicKinds } from './toxics.ts';

export type Direction = 'upstream' | 'downstream';

/** A toxic of a proxy. Its attributes and toxicity may change while it is at work. */
export interface Toxic {
  readonly name: string;
  readonly type: string;
  readonly stream: Direction;
  /** Part of the connections that it affects. */
  toxicity: number;
  attributes: Record<string, number>;
}

/** Takes bytes, or null for the end; resolves when there is room for more. */
interface Sink {
  push(chunk: Chunk | null): void | Promise<void>;
}

/** A timer cannot wait longer. */
const SLEEP_MAX_MS = 2 ** 31 - 1;

/** One direction of one connection: from its source through every toxic, in the order they were added, to `to`. */
export class Link {
  readonly #stubs: Stub[] = [];
  readonly #output: Sink;

  /** `resets` says whether the socket closes with a TCP reset. */
  constructor(from: Socket, to: Socket, toxics: readonly Toxic[], resets: () => boolean) {
    this.#output = {
      push(chunk) {
        if (chunk === null) return resets() ? void to.resetAndDestroy() : to.destroySoon();
        if (to.destroyed || to.writableEnded || to.write(chunk.data)) return;
        return new Promise((done) => {
          const go = () => {
            to.off('drain', go).off('close', go);
            done();
          };
          to.on('drain', go).on('close', go);
        });
      },
    };
    for (const toxic of toxics) this.add(toxic);
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      void this.#first().push(null);
    };
    from.on('data', (data) => {
      const room = this.#first().push({ data, at: performance.now() });
      if (room === undefined) return;
      from.pause();
      void room.then(() => from.resume());
    });
    from.on('end', end).on('close', end);
    to.on('close', () => {
      for (const stub of this.#stubs) stub.abandon();
    });
  }

  add(toxic: Toxic): void {
    const stub: Stub = new Stub(toxic, () => this.#drop(stub));
    this.#stubs.push(stub);
    this.#join();
    stub.start();
  }

  change(toxic: Toxic): void {
    this.#stubs.find((stub) => stub.toxic === toxic)?.start();
  }

  remove(toxic: Toxic): void {
    this.#stubs.find((stub) => stub.toxic === toxic)?.remove();
  }

  #first(): Sink {
    return this.#stubs[0] ?? this.#output;
  }

  #drop(stub: Stub) {
    this.#stubs.splice(this.#stubs.indexOf(stub), 1);
    this.#join();
  }

  #join() {
    for (const [i, stub] of this.#stubs.entries()) stub.next = this.#stubs[i + 1] ?? this.#output;
  }
}

/** A toxic at work on one direction of one connection. */
class Stub implements Pipe, Sink {
  readonly toxic: Toxic;
  tally = 0;
  next: Sink = { push() {} };
  readonly #onEmpty: () => void;
  readonly #queue: (Chunk | null)[] = [];
  readonly #sleepers = new Set<(slept: boolean) => void>();
  #kind: ToxicKind = noop;
  #working = false;
  #closed = false;
  #removed = false;
  #room: (() => void) | undefined;

  /** `onEmpty` is called once the removed toxic holds nothing any more. */
  constructor(toxic: Toxic, onEmpty: () => void) {
    this.toxic = toxic;
    this.#onEmpty = onEmpty;
  }

  /** Begins, or begins anew after a change. */
  start(): void {
    this.#wake();
    this.#kind = Math.random() < this.toxic.toxicity ? kindOf(this.toxic) : noop;
    this.#kind.start?.(this, this.toxic.attributes);
  }

  remove(): void {
    const kind = this.#kind;
    this.#kind = noop;
    this.#removed = true;
    this.#wake();
    kind.removed?.(this);
    if (!this.#working) this.#onEmpty();
  }

  /** Nobody takes what comes out of it. */
  abandon(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#wake();
    this.#room?.();
  }

  push(chunk: Chunk | null): void | Promise<void> {
    if (this.#closed) return;
    this.#queue.push(chunk);
    if (!this.#working) void this.#work();
    // The pusher waits for this one, so that there is never a second to wait.
    if (chunk !== null && this.#queue.length > (this.#kind.holds ?? 0))
      return new Promise((room) => {
        this.#room = room;
      });
  }

  emit(chunk: Chunk): void | Promise<void> {
    if (!this.#closed) return this.next.push(chunk);
  }

  sleep(ms: number): Promise<boolean> {
    if (this.#removed || this.#closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const wake = (slept: boolean) => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve(slept);
      };
      const timer =
        ms === Number.POSITIVE_INFINITY
          ? undefined
          : setTimeout(wake, Math.min(ms, SLEEP_MAX_MS), true);
      this.#sleepers.add(wake);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.abandon();
    void this.next.push(null);
  }

  async #work() {
    this.#working = true;
    for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
      if (this.#queue.length <= (this.#kind.holds ?? 0)) this.#room?.();
      if (chunk === null) {
        await this.#kind.end?.(this, this.toxic.attributes);
        this.close();
      } else {
        const done = this.#kind.pass(chunk, this, this.toxic.attributes);
        if (done !== undefined) await done;
      }
    }
    this.#working = false;
    if (this.#removed) this.#onEmpty();
  }

  #wake() {
    for (const wake of [...this.#sleepers]) wake(false);
  }
}

const noop = toxicKinds.noop as ToxicKind;

function kindOf(toxic: Toxic): ToxicKind {
  return toxicKinds[toxic.type] ?? noop;
}
