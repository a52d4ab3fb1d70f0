import { expect, test } from 'vitest';
import { type AnyStateMachine, assign, fromPromise, setup } from 'xstate';
import { defineActor } from '../../src/actors/define.ts';
import { Registry } from '../../src/actors/registry.ts';
import type { ActorLine, TransitionLine } from '../../src/inspect/historyFile.ts';
import { Rehearsal, type Verdict } from '../../src/inspect/rehearsal.ts';
import { ActorDriver } from '../support/actorsDriver.ts';

// What counts as a difference between a recorded step and the step of now.

type Context = Record<string, unknown>;

const machineOf = (given: {
  go: () => Context;
  invokes?: string;
  delay?: number;
  acts?: string[];
}) =>
  setup({
    types: { context: {} as Context, events: {} as { type: 'GO' } },
    actors: { work: fromPromise(() => new Promise(() => {})) },
    actions: { one: () => {}, two: () => {} },
  }).createMachine({
    id: 'm',
    context: {},
    initial: 'here',
    states: {
      here: {
        on: {
          GO: { target: 'there', actions: [assign(given.go), ...((given.acts ?? []) as 'one'[])] },
        },
      },
      there: {
        invoke: { src: 'work', id: given.invokes ?? 'work' },
        after: { [given.delay ?? 1_000]: 'here' },
      },
    },
  });

/** Records GO on one machine, and gives it to the other. */
async function rehearsed(was: AnyStateMachine, is: AnyStateMachine): Promise<Verdict> {
  const driver = new ActorDriver(defineActor('m', { machine: was }));
  driver.send({ type: 'GO' });
  const actor = { ...driver.address, kind: 'actor', version: '1', seq: 2 } as unknown as ActorLine;
  const rehearsal = new Rehearsal(actor, {
    registry: new Registry([defineActor('m', { machine: is })]),
  });
  const lines = driver.history.map(
    (row): TransitionLine => ({
      ...{ kind: 'transition', seq: row.seq, epoch: 1, node_id: 'n', at: '', actions: row.actions },
      ...{ event_type: row.eventType, event_id: row.eventId, origin: row.origin },
      event: JSON.parse(row.event),
      from_state: row.fromState === null ? null : JSON.parse(row.fromState),
      to_state: JSON.parse(row.toState),
      edges: JSON.parse(row.edges),
      snapshot: JSON.parse(row.snapshot),
    }),
  );
  rehearsal.pass(lines[0] as TransitionLine);
  // Recorded and rehearsed within one millisecond, a clock would say the same.
  const recordedAt = Date.now();
  while (Date.now() === recordedAt);
  return rehearsal.take(lines[1] as TransitionLine);
}

const steady = () => ({ n: 1 });
const clock = () => ({ n: 1, at: Date.now(), id: Math.random(), list: [{ id: Math.random() }] });
const paths = ({ changes }: Verdict) => changes.map(({ path }) => path);

test('the same machine does the same', async () => {
  const machine = machineOf({ go: steady, acts: ['one'] });
  expect(await rehearsed(machine, machine)).toMatchObject({
    verdict: 'same',
    changes: [],
    unsteady: [],
  });
});

test('what clocks and chance decide is unsteady, and nothing else is', async () => {
  const machine = machineOf({ go: clock });
  const same = await rehearsed(machine, machine);
  expect(same).toMatchObject({ verdict: 'unsteady', changes: [] });
  expect(same.unsteady.map(({ path }) => path)).toEqual([
    'context.at',
    'context.id',
    'context.list[0].id',
  ]);
  const other = await rehearsed(machine, machineOf({ go: () => ({ ...clock(), n: 2 }) }));
  expect(other.verdict).toBe('differs');
  expect(paths(other)).toEqual(['context.n']);
});

test('a new or a lost field is a difference, even when a clock is in it', async () => {
  const [without, having] = [machineOf({ go: steady }), machineOf({ go: clock })];
  const added = await rehearsed(without, having);
  expect(added.verdict).toBe('differs');
  expect(paths(added)).toEqual(['context.at', 'context.id', 'context.list']);
  expect(paths(await rehearsed(having, without))).toEqual([
    'context.at',
    'context.id',
    'context.list',
  ]);
});

test.each<[string, Parameters<typeof machineOf>[0], string]>([
  ['actions', { go: steady, acts: ['one', 'two'] }, 'actions'],
  ['invokes', { go: steady, invokes: 'other' }, 'invokes.other'],
  ['timers', { go: steady, delay: 2_000 }, 'timers["xstate.after.2000.m.there"]'],
])('other %s are a difference', async (_what, is, path) => {
  const found = await rehearsed(machineOf({ go: steady }), machineOf(is));
  expect(found.verdict).toBe('differs');
  expect(paths(found)).toContain(path);
});

test('errors made in another place of the code are the same errors', async () => {
  const one = machineOf({ go: () => ({ error: new Error('no') }) });
  const other = machineOf({ go: () => ({ error: Object.assign(new Error('no')) }) });
  expect((await rehearsed(one, other)).verdict).toBe('same');
  const changed = machineOf({ go: () => ({ error: new Error('other') }) });
  expect((await rehearsed(one, changed)).verdict).toBe('differs');
});
