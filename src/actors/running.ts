import type { AnyActorRef, EventObject } from 'xstate';
import type { LogicKind } from './logic.ts';

/** What every creator of XState gives to the user's function. */
export interface RunArguments {
  input: unknown;
  self: AnyActorRef;
  system: unknown;
  readonly signal: AbortSignal;
  emit: () => void;
}

/** What runs tells, until it has ended or is ended. */
export interface Reports {
  done(output: unknown): void;
  failed(error: unknown): void;
  /** An event for the actor it runs for. */
  sent(event: EventObject): void;
  /** A value: its snapshot changes. */
  next(value: unknown): void;
}

/** Something that runs beside an actor. */
export interface Running {
  /** An event from the actor it runs for. */
  tell(event: EventObject): void;
  /** It is left: what it holds is let go. Nothing is reported any more. */
  end(): void;
}

type Creator = (args: object) => unknown;

/** Starts the user's function as XState's own actor of that kind would. @throws what the function throws at once */
export function run(
  kind: LogicKind,
  creator: Creator,
  args: RunArguments,
  reports: Reports,
): Running {
  switch (kind) {
    case 'promise':
      Promise.resolve(creator(args)).then(
        (output) => reports.done(output),
        (error) => reports.failed(error),
      );
      return NOTHING_TO_END;
    case 'callback':
      return runCallback(creator, args, reports);
    case 'observable':
      return subscribe(creator, args, reports, (value) => reports.next(value));
    case 'events':
      return subscribe(creator, args, reports, (value) => reports.sent(value as EventObject));
    default:
      throw new Error(`Logic of kind ${kind} does not run beside an actor.`);
  }
}

/** A promise's signal is its attempt's. */
const NOTHING_TO_END: Running = { tell() {}, end() {} };

function runCallback(creator: Creator, args: RunArguments, reports: Reports): Running {
  const receivers = new Set<(event: EventObject) => void>();
  let over = false;
  const { input, self, system, emit } = args;
  const dispose = creator({
    input,
    self,
    system,
    emit,
    sendBack(event: EventObject) {
      if (!over) reports.sent(event);
    },
    receive: (listener: (event: EventObject) => void) => void receivers.add(listener),
  });
  return {
    tell(event) {
      try {
        for (const receiver of receivers) receiver(event);
      } catch (error) {
        reports.failed(error);
      }
    },
    end() {
      over = true;
      receivers.clear();
      if (typeof dispose === 'function') letGo(dispose as () => void);
    },
  };
}

interface Subscribable {
  subscribe(observer: {
    next(value: unknown): void;
    error(error: unknown): void;
    complete(): void;
  }): { unsubscribe(): void };
}

function subscribe(
  creator: Creator,
  args: RunArguments,
  reports: Reports,
  take: (value: unknown) => void,
): Running {
  const { input, self, system, emit } = args;
  let over = false;
  const subscription = (creator({ input, self, system, emit }) as Subscribable).subscribe({
    next: (value) => {
      if (!over) take(value);
    },
    error: (error) => reports.failed(error),
    complete: () => reports.done(undefined),
  });
  return {
    tell() {},
    end() {
      over = true;
      letGo(() => subscription?.unsubscribe());
    },
  };
}

/** Whoever throws while tidying up harms nobody; it is told like any rejection nobody waits for. */
function letGo(tidy: () => void): void {
  try {
    tidy();
  } catch (error) {
    void Promise.reject(error);
  }
}
