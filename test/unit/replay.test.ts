import { describe, expect, test } from 'vitest';
import {
  assign,
  cancel,
  type EventObject,
  enqueueActions,
  fromPromise,
  raise,
  sendTo,
  setup,
  spawnChild,
} from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import { actorAddress } from '../../src/actors/refs.ts';
import { timerEventId } from '../../src/actors/replay.ts';
import { shardOf } from '../../src/bus/subjects.ts';
import { SHARDS } from '../../src/config.ts';
import { ActorDriver } from '../support/actorsDriver.ts';
import { randomFrom } from '../support/cluster.ts';
import { judgeHistory } from '../support/history.ts';
import { seed } from '../support/services.ts';

const work = fromPromise<unknown, unknown>(() => new Promise(() => {}));

/** A machine with a little of everything, for events in any order. */
const busy = defineActor('busy', {
  machine: setup({
    types: {
      context: {} as {
        n: number;
        log: unknown[];
        at: Date;
        tally: Map<string, number>;
        big: bigint;
      },
      input: {} as { n: number },
      events: {} as {
        type:
          | 'A'
          | 'B'
          | 'C'
          | 'D'
          | 'SPAWN'
          | 'SET'
          | 'UNSET'
          | 'RING'
          | 'TELL'
          | 'BREAK'
          | 'MANY';
        n: number;
      },
    },
    actors: { work },
    delays: { some: ({ context }) => 10 + (context.n % 7) * 10 },
    actions: { note: (_, _params: { n: number }) => {} },
    guards: { odd: ({ context }) => context.n % 2 === 1 },
  }).createMachine({
    id: 'busy',
    context: ({ input }) => ({ n: input.n, log: [], at: new Date(0), tally: new Map(), big: 1n }),
    type: 'parallel',
    on: {
      'xstate.error.actor.*': {},
      SPAWN: { actions: spawnChild('work', { id: 'spawned', input: { some: 'thing' } }) },
      SET: { actions: raise({ type: 'RING', n: 1 }, { id: 'bell:with:colons', delay: 30 }) },
      UNSET: { actions: cancel('bell:with:colons') },
      RING: {
        actions: assign({
          tally: ({ context }) =>
            new Map(context.tally).set('rang', (context.tally.get('rang') ?? 0) + 1),
        }),
      },
      TELL: {
        actions: [
          sendTo(
            () => actorAddress('other', 'o'),
            ({ event }) => ({ type: 'HI', n: event.n }),
          ),
          sendTo(() => actorAddress('other', 'later'), { type: 'LATER' }, { delay: 20 }),
          sendTo(({ self }) => self, { type: 'MANY', n: 2 }),
        ],
      },
      MANY: {
        actions: enqueueActions(({ enqueue, context, event }) => {
          for (let i = 0; i < event.n % 4; i++) enqueue({ type: 'note', params: { n: i } });
          enqueue.assign({ big: context.big * 3n, at: new Date(context.at.getTime() + event.n) });
        }),
      },
    },
    states: {
      one: {
        initial: 'p',
        states: {
          p: {
            on: {
              A: {
                target: 'q',
                actions: { type: 'note', params: ({ context }) => ({ n: context.n }) },
              },
            },
          },
          q: {
            invoke: {
              id: 'job',
              src: 'work',
              input: ({ context }: { context: { n: number } }) => ({ n: context.n }),
              onDone: {
                target: 'r',
                actions: assign({
                  log: ({ context, event }) => [...context.log.slice(-5), event.output],
                }),
              },
              onError: 'p',
            },
            on: { B: 'p', C: { target: 'q', reenter: true } },
          },
          r: { after: { some: 'p' }, on: { D: 'hist' } },
          hist: { type: 'history' },
        },
      },
      two: {
        initial: 'x',
        states: {
          x: {
            always: { guard: 'odd', target: 'y' },
            on: { A: { actions: assign(({ context, event }) => ({ n: context.n + event.n })) } },
          },
          y: { entry: assign({ n: ({ context }) => context.n + 1 }), always: 'x', tags: 'odd' },
        },
      },
    },
  }),
});

const EVENTS = ['A', 'B', 'C', 'D', 'SPAWN', 'SET', 'UNSET', 'TELL', 'MANY', 'NOTHING'];

/** Lets anything happen to the actor, by the seed. */
function happen(driver: ActorDriver, random: () => number, count: number): void {
  const whole = (below: number) => Math.floor(random() * below);
  for (let n = 0; n < count; n++) {
    const running = [...driver.running.keys()];
    switch (whole(5)) {
      case 0:
        driver.advance(whole(40));
        break;
      case 1: {
        const invokeId = running[whole(running.length)];
        if (invokeId === undefined) break;
        if (random() < 0.3) driver.settle(invokeId, { error: new Error(`no ${n}`) });
        else driver.settle(invokeId, { output: { n, when: new Date(n), big: BigInt(n) } });
        break;
      }
      default:
        driver.send({ type: EVENTS[whole(EVENTS.length)] as string, n: whole(5) } as EventObject);
    }
  }
}

const first = seed();

describe.each(Array.from({ length: 12 }, (_, n) => first + n))(
  'whatever happens (seed %i)',
  (from) => {
    test('a history computed again is the same, byte for byte', () => {
      const driver = new ActorDriver(busy, { input: { n: from % 10 } });
      happen(driver, randomFrom(from), 120);
      expect(driver.history.length).toBeGreaterThan(40);
      expect(driver.replayDifferences()).toEqual([]);
    });

    test('crashes in between change nothing', () => {
      const [calm, storm] = [false, true].map((rehydrates) => {
        const driver = new ActorDriver(busy, { input: { n: from % 10 }, rehydrates });
        happen(driver, randomFrom(from), 80);
        return {
          rows: driver.history.map(({ snapshot, edges, actions, event }) => ({
            snapshot,
            edges,
            actions,
            event,
          })),
          sent: driver.sent,
        };
      });
      expect(storm).toEqual(calm);
    });

    test('the checker agrees', () => {
      const driver = new ActorDriver(busy, { input: { n: from % 10 } });
      happen(driver, randomFrom(from), 60);
      const last = driver.history.at(-1);
      const { violations } = judgeHistory(
        {
          actors: [
            {
              ...driver.address,
              version: '1',
              status: driver.status,
              state: last?.toState as string,
              seq: driver.history.length,
              epoch: 1,
              shard: shardOf(driver.address.type, driver.address.id, SHARDS),
              busy: false,
              actedSeq: driver.history.length,
              snapshot: last?.snapshot as string,
            },
          ],
          transitions: driver.history,
          timers: Object.entries(driver.live.timers).map(([timerId, armedSeq]) => ({
            ...driver.address,
            timerId,
            armedSeq,
            fireAt: 0,
          })),
          outbox: [],
          shards: [],
          deadLetters: [],
        },
        { types: [busy] },
      );
      expect(violations).toEqual([]);
    });
  },
);

test('a timer’s id comes back from the event id it fires under, whatever it looks like', () => {
  expect(timerEventId('a', 3)).toBe('!timer:3:a');
  const driver = new ActorDriver(busy, { input: { n: 1 } });
  driver.send({ type: 'SET' });
  driver.advance(100);
  expect(driver.history.at(-1)).toMatchObject({
    eventType: 'RING',
    eventId: '!timer:2:bell:with:colons',
  });
  expect(driver.replayDifferences()).toEqual([]);
});

test('a context with undefined in it is the same after a crash, its keys in the same order', () => {
  const sparse = defineActor('sparse', {
    machine: setup({
      types: { context: {} as { a?: number | undefined; b: number; keys: string[] } },
    }).createMachine({
      context: { a: undefined, b: 1, keys: [] },
      on: {
        SET: { actions: assign({ a: 5 }) },
        UNSET: { actions: assign(() => ({ a: undefined })) },
        LOOK: { actions: assign(({ context }) => ({ keys: Object.keys(context) })) },
      },
    }),
  });
  const [calm, storm] = [false, true].map((rehydrates) => {
    const driver = new ActorDriver(sparse, { rehydrates });
    for (const type of ['LOOK', 'SET', 'UNSET', 'LOOK', 'SET', 'LOOK']) driver.send({ type });
    expect(driver.replayDifferences()).toEqual([]);
    return driver.history.map(({ snapshot }) => snapshot);
  });
  expect(storm).toEqual(calm);
});

test('an anonymous spawn is still there after a crash, under its own id, and ends once', () => {
  const spawner = defineActor('spawner', {
    machine: setup({
      types: { context: {} as { got: unknown[] } },
      actors: { work },
    }).createMachine({
      context: { got: [] },
      on: {
        SPAWN: { actions: spawnChild('work', { input: { a: 1 } }) },
        'xstate.done.actor.*': {
          actions: assign(({ context, event }) => ({
            got: [...context.got, (event as unknown as { output: unknown }).output],
          })),
        },
      },
    }),
  });
  for (const rehydrates of [false, true]) {
    const driver = new ActorDriver(spawner, { rehydrates });
    driver.send({ type: 'SPAWN' });
    driver.send({ type: 'SPAWN' });
    const ids = [...driver.running.keys()];
    expect(ids).toHaveLength(2);
    expect(Object.keys(driver.live.started)).toEqual(ids);
    // What is started again after a crash is found by these ids.
    expect(Object.keys(driver.snapshot.children)).toEqual(ids);
    driver.settle(ids[1] as string, { output: 'second' });
    driver.settle(ids[0] as string, { output: 'first' });
    expect(driver.snapshot.context).toEqual({ got: ['second', 'first'] });
    expect(driver.live.started).toEqual({});
    expect(driver.replayDifferences()).toEqual([]);
  }
});
