import {
  type AnyStateMachine,
  and,
  assign,
  cancel,
  emit,
  enqueueActions,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromPromise,
  fromTransition,
  not,
  or,
  raise,
  sendTo,
  setup,
  stateIn,
} from 'xstate';
import type { ActionData, GuardData, StateData } from './data.ts';

/** What the machines keep. */
export interface Context {
  /** How often something happened. */
  n: number;
  /** The last of what was kept and heard, in order. */
  trail: string[];
  /** Who has spoken. Who is started again says it again, so it is not told how often. */
  heard: Record<string, boolean>;
}

interface Happening {
  type: string;
  n?: number;
  from?: string;
  snapshot?: { context?: unknown };
}

/** What counts stops here, so that nothing that goes round at once can go on for ever. */
const COUNT_MAX = 40;
const TRAIL_MAX = 8;
const SAYINGS = 3;

const note = () => {};

const base = setup({
  types: {
    context: {} as Context,
    events: {} as Happening,
    emitted: {} as { type: 'told'; n: number },
  },
  actors: {
    works: fromPromise(async () => 'done'),
    fails: fromPromise(async () => {
      throw new Error('refused');
    }),
    echo: fromCallback<Happening, { id: string }>(({ input, sendBack, receive }) => {
      sendBack({ type: 'HEARD', from: input.id });
      receive(() => sendBack({ type: 'HEARD', from: `${input.id} answers` }));
    }),
    ticks: fromEventObservable<Happening, { id: string }>(
      ({ input }) => sayings((n) => ({ type: 'HEARD', from: `${input.id} ${n}` })) as never,
    ),
    values: fromObservable(() => sayings((n) => n) as never),
    sum: fromTransition((total: number) => total + 1, 0),
  },
  guards: {
    is: ({ context }, [of, rest]: [number, number]) =>
      context.n < COUNT_MAX && context.n % of === rest,
  },
  delays: { own: ({ context }) => 1_000 + context.n * 13 },
  actions: {
    note,
    mark: note,
    sign: note,
    count: assign({ n: ({ context }) => Math.min(context.n + 1, COUNT_MAX) }),
    keep: assign({ trail: ({ context }, what: string) => longer(context, what) }),
    hear: assign({
      heard: ({ context, event }) => ({ ...context.heard, [event.from ?? '']: true }),
    }),
    // That it has no value yet is old news when it is told after a crash.
    hearValue: assign({
      heard: ({ context: { heard }, event: { type, snapshot } }) =>
        snapshot?.context === undefined
          ? heard
          : { ...heard, [`${type} ${snapshot.context}`]: true },
    }),
    hearSum: assign({
      trail: ({ context, event }) => longer(context, `${event.snapshot?.context}`),
    }),
  },
});

const longer = ({ trail }: Context, what: string): string[] => [...trail, what].slice(-TRAIL_MAX);

const sayings = (say: (n: number) => unknown) => ({
  subscribe(observer: { next(value: unknown): void; complete(): void }) {
    for (let n = 1; n <= SAYINGS; n++) observer.next(say(n));
    observer.complete();
    return { unsubscribe() {} };
  },
});

/** The machine that data describes. */
export function build(data: StateData): AnyStateMachine {
  const context: Context = { n: 0, trail: [], heard: {} };
  const options = { maxIterations: 1_000 };
  const on = { ...(data.on as object), HEARD: { actions: ['hear'] } };
  return base.createMachine(revive({ ...data, on, context, options }) as never) as never;
}

/** Data with its actions and guards as XState wants them. */
function revive(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(revive);
  if (typeof data !== 'object' || data === null) return data;
  if ('do' in data) return action(data as Exclude<ActionData, string>);
  const entries = Object.entries(data).map(([key, value]) => [
    key,
    key === 'guard' ? guard(value as GuardData) : revive(value),
  ]);
  return Object.fromEntries(entries);
}

function guard(data: GuardData): unknown {
  if ('is' in data) return { type: 'is', params: data.is };
  if ('all' in data) return and(data.all.map(guard) as never);
  if ('any' in data) return or(data.any.map(guard) as never);
  if ('none' in data) return not(guard(data.none) as never);
  return stateIn(data.at);
}

function action(data: Exclude<ActionData, string>): unknown {
  switch (data.do) {
    case 'keep':
      return { type: 'keep', params: data.what };
    case 'emit':
      return emit({ type: 'told', n: data.n } as never);
    case 'cancel':
      return cancel(data.id);
    case 'tell':
      return sendTo(
        data.child,
        { type: 'ADD' },
        'id' in data ? { id: data.id, delay: data.delay } : {},
      );
    case 'raise':
      if ('id' in data)
        return raise({ type: data.event }, { id: data.id, delay: data.delay } as never);
      return notForEver(raise({ type: data.event }));
    case 'self':
      if ('id' in data)
        return sendTo(({ self }) => self, { type: data.event }, {
          id: data.id,
          delay: data.delay,
        } as never);
      return notForEver(sendTo(({ self }) => self, { type: data.event }));
  }
}

/** It counts, so it ends. */
const notForEver = (action: unknown) =>
  enqueueActions(({ context, enqueue }) => {
    if (context.n >= COUNT_MAX) return;
    enqueue('count' as never);
    enqueue(action as never);
  });
