import type { Clock } from '../clock.ts';
import type { ActorTrial, MessageTrial, Store } from '../store/store.ts';

/**
 * Writes down what is about to be tried, for all shards of the node: while one statement is in flight, the next one
 * gathers.
 */
export class Marks {
  readonly #messages: Gathering<MessageTrial>;
  readonly #actors: Gathering<ActorTrial>;

  constructor(store: Store, clock: Clock, nodeId: string) {
    this.#messages = new Gathering(clock, (trials) => store.tryMessages(nodeId, trials));
    this.#actors = new Gathering(clock, (trials) => store.tryActors(nodeId, trials));
  }

  /** Resolves when it is on record. A shard has one at a time. */
  message(trial: MessageTrial): Promise<void> {
    return this.#messages.add(trial);
  }

  /** Resolves when it is on record. An actor has one at a time. */
  actor(trial: ActorTrial): Promise<void> {
    return this.#actors.add(trial);
  }
}

class Gathering<T> {
  readonly #clock: Clock;
  readonly #write: (trials: T[]) => Promise<void>;
  #next: { trials: T[]; written: Promise<void> } | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock, write: (trials: T[]) => Promise<void>) {
    this.#clock = clock;
    this.#write = write;
  }

  add(trial: T): Promise<void> {
    const next = this.#next ?? this.#begin();
    next.trials.push(trial);
    return next.written;
  }

  #begin() {
    const trials: T[] = [];
    const soon = new Promise<void>((resolve) => this.#clock.soon(resolve));
    const written = Promise.all([this.#last, soon]).then(() => {
      this.#next = undefined;
      return this.#write(trials);
    });
    this.#last = written.catch(() => {});
    this.#next = { trials, written };
    return this.#next;
  }
}
