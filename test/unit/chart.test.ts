import { describe, expect, test } from 'vitest';
import { and, fromPromise, not, setup } from 'xstate';
import {
  activeStates,
  type Chart,
  causeText,
  isLegal,
  legalEvents,
  machineAt,
} from '../../src/actors/chart.ts';
import { recordsOf } from '../../src/actors/chartOf.ts';
import { defineActor } from '../../src/actors/define.ts';
import { diffOf } from '../../src/inspect/diff.ts';
import { mermaidOf } from '../../src/inspect/mermaid.ts';
import { textChart } from '../../src/inspect/textChart.ts';

// A machine as data: what is recorded of it, what can be told from that, and how it is written.

const ship = setup({}).createMachine({
  id: 'ship',
  initial: 'packing',
  states: { packing: { on: { GO: 'gone' } }, gone: { type: 'final' } },
});
const type = defineActor('order', {
  version: '3',
  retry: { charge: { attempts: 4 } },
  timeout: { charge: 500 },
  machine: setup({
    actors: { ship, charge: fromPromise(async () => {}) },
    guards: { isPaid: () => true, inStock: () => true },
    actions: { note: () => {}, greet: () => {} },
    delays: { soon: 5 },
  }).createMachine({
    id: 'order',
    initial: 'open',
    on: { NOTE: { actions: 'note' }, 'order.*': { actions: 'note' } },
    states: {
      open: {
        type: 'parallel',
        tags: ['busy'],
        entry: 'greet',
        states: {
          pay: {
            initial: 'due',
            states: {
              due: {
                on: {
                  PAY: [
                    { guard: not('isPaid'), target: 'charging' },
                    { guard: and(['isPaid', 'inStock']), target: 'done' },
                  ],
                },
              },
              charging: { invoke: { src: 'charge', onDone: 'done', onError: 'due' } },
              done: { type: 'final' },
            },
          },
          send: {
            invoke: { id: 'ship', src: 'ship' },
            initial: 'a',
            states: { a: {}, back: { type: 'history' } },
          },
        },
        after: { soon: 'late', 86400000: 'late' },
        onDone: 'late',
      },
      late: { always: { guard: 'isPaid', target: 'end' }, on: { PAY: 'end' } },
      end: { type: 'final' },
    },
  }),
});
const [record] = recordsOf([type]);
const chart = JSON.parse(record?.definition ?? '') as Chart;
const root = machineAt(chart)?.root as Chart['machines'][0]['root'];
const at = (value: unknown) => activeStates(root, value);

test('a version is recorded with its machines and how they run', () => {
  expect(record).toMatchObject({ type: 'order', version: '3' });
  expect(chart.machines.map(({ id }) => id)).toEqual(['order', 'ship']);
  expect(chart.machines[0]?.actors).toEqual({
    ship: { kind: 'machine', machine: 1 },
    charge: { kind: 'promise', attempts: 4, timeoutMs: 500 },
  });
  expect(machineAt(chart, ['ship'])?.root.states.map(({ key }) => key)).toEqual([
    'packing',
    'gone',
  ]);
  expect(machineAt(chart, ['ship', 'ship'])).toBeUndefined();
});

test('the same machine is recorded as the same text', () => {
  expect(recordsOf([type])).toEqual([record]);
});

test('the states a value names are found, and nothing is made up', () => {
  const value = { open: { pay: 'due', send: 'a' } };
  expect(at(value).map(({ id }) => id)).toEqual([
    ...['order', 'order.open', 'order.open.pay', 'order.open.pay.due'],
    ...['order.open.send', 'order.open.send.a'],
  ]);
  for (const strange of [undefined, null, 7, {}, 'nowhere', { open: 'nowhere' }])
    expect(() => at(strange)).not.toThrow();
});

test('what is handled is told with guards, innermost first', () => {
  expect(legalEvents(at({ open: { pay: 'due', send: 'a' } }))).toEqual([
    { type: 'NOTE', states: ['order'], guards: [] },
    { type: 'PAY', states: ['order.open.pay.due'], guards: ['not isPaid', 'isPaid and inStock'] },
    { type: 'order.*', states: ['order'], guards: [] },
  ]);
  const events = legalEvents(at('late'));
  expect(isLegal(events, 'PAY')).toBe(true);
  expect(isLegal(events, 'order.sent')).toBe(true);
  for (const none of ['order', 'orders', 'GO', '', 'xstate.done.state.order'])
    expect(isLegal(events, none), none).toBe(none === 'order');
});

test('causes are written as people say them', () => {
  const edges = root.states.flatMap((state) => [
    state,
    ...state.states.flatMap((one) => [one, ...one.states]),
  ]);
  const causes = edges.flatMap((state) => state.edges.map(causeText));
  expect(causes).toEqual(
    expect.arrayContaining([
      'after soon',
      'after 1 d',
      'done',
      'always',
      'done charge',
      'error charge',
      'PAY',
    ]),
  );
});

test('as text, with what is active', () => {
  const active = new Set(at({ open: { pay: 'due', send: 'a' } }).map(({ id }) => id));
  const text = textChart(chart.machines[0] as Chart['machines'][0], 'order', active).join('\n');
  expect(text).toContain('● open (parallel) #busy');
  expect(text).toContain('PAY [not isPaid] → open.pay.charging');
  expect(text).toMatch(/└─ end \(final\)/);
  expect(text).not.toContain('● late');
});

test('as a Mermaid diagram', () => {
  const text = mermaidOf(chart.machines[0] as Chart['machines'][0]);
  expect(text).toMatch(/^stateDiagram-v2\n/);
  expect(text).toMatch(/\n {4}--\n/);
  expect(text).toMatch(/due_\d+ --> charging_\d+: PAY \[not isPaid\]/);
  expect(text.match(/\{$/gm)?.length).toBe(text.match(/^\s*\}$/gm)?.length);
});

describe('differences', () => {
  test.each<[unknown, unknown, object[]]>([
    [{ a: 1 }, { a: 1 }, []],
    [{ a: 1 }, { a: 2 }, [{ path: 'a', kind: 'changed', before: 1, after: 2 }]],
    [{}, { 'b c': [1] }, [{ path: '["b c"]', kind: 'added', after: [1] }]],
    [{ a: [1, 2] }, { a: [1] }, [{ path: 'a[1]', kind: 'removed', before: 2 }]],
    [null, { a: 1 }, [{ path: '', kind: 'changed', before: null, after: { a: 1 } }]],
    [{ toString: 1 }, {}, [{ path: 'toString', kind: 'removed', before: 1 }]],
    ['x', 'x', []],
  ])('%j → %j', (before, after, changes) => expect(diffOf(before, after)).toEqual(changes));

  test('there are at most 500', () => {
    expect(
      diffOf(
        [],
        Array.from({ length: 2_000 }, (_, n) => n),
      ),
    ).toHaveLength(500);
  });
});
