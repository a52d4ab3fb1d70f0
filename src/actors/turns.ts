import type { Cancel, Clock } from '../clock.ts';
import { asError } from '../errors.ts';
import type { Logger } from '../log.ts';

interface Turn {
  run(): void;
  cancel: Cancel;
  busy: boolean;
  again: boolean;
}

/** Work that is done again and again: each kind by itself, never twice at once. What fails is logged and tried again. */
export class Turns {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #turns = new Map<string, Turn>();
  #stopped = false;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Does it every `periodMs`, counted from the end of the turn before; the first time after one period. */
  every(name: string, periodMs: number, work: () => Promise<void> | void): void {
    const turn: Turn = {
      busy: false,
      again: false,
      cancel: this.#clock.after(periodMs, () => turn.run()),
      run: () => void this.#run(turn, name, periodMs, work),
    };
    this.#turns.set(name, turn);
  }

  /** The next turn is now, or as soon as the one that runs has ended. */
  soon(name: string): void {
    const turn = this.#turns.get(name);
    if (!turn || this.#stopped) return;
    turn.again = true;
    if (turn.busy) return;
    turn.cancel();
    turn.cancel = this.#clock.after(0, turn.run);
  }

  stop(): void {
    this.#stopped = true;
    for (const { cancel } of this.#turns.values()) cancel();
  }

  async #run(
    turn: Turn,
    name: string,
    periodMs: number,
    work: () => Promise<void> | void,
  ): Promise<void> {
    turn.busy = true;
    turn.again = false;
    try {
      await work();
    } catch (error) {
      // Cut short by the end of all, which closes the store under it.
      if (!this.#stopped)
        this.#log.error({ turn: name, error: asError(error).stack }, 'ownership: turn failed');
    }
    turn.busy = false;
    if (!this.#stopped) turn.cancel = this.#clock.after(turn.again ? 0 : periodMs, turn.run);
  }
}
