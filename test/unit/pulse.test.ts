import { expect, test } from 'vitest';
import { Pulse, readPulse } from '../../src/actors/pulse.ts';
import { emptyLoad, loadOf } from '../../src/actors/ring.ts';

const read = (text: string | undefined) => text && readPulse(Buffer.from(text));

test('a pulse tells what was committed since the one before, also that it was nothing', () => {
  const { types } = emptyLoad();
  const pulse = new Pulse('n-1');
  // Bug: nothing was told while nothing was committed, and an idle cluster was taken for one that nobody hears.
  expect(read(pulse.take(types))).toMatchObject({ node: 'n-1', types: {}, recent: [] });
  const order = loadOf({ types } as never, 'order');
  order.transitions += 3;
  order.started += 1;
  order.error += 1;
  pulse.told('{"type":"order","id":"a"}');
  pulse.waited(7.4);
  expect(read(pulse.take(types))).toEqual({
    node: 'n-1',
    word: 'pulse',
    types: { order: { transitions: 3, started: 1, done: 0, error: 1 } },
    waited: [7],
    recent: [{ type: 'order', id: 'a' }],
  });
  expect(read(pulse.take(types))).toMatchObject({ types: {}, waited: [], recent: [] });
  order.transitions += 2;
  pulse.told('{"type":"order","id":"b"}');
  expect(read(pulse.take(types))).toMatchObject({ types: { order: { transitions: 2 } } });
});

test('of many it tells the last ten, and times from everywhere between', () => {
  const pulse = new Pulse('n-1');
  for (let i = 0; i < 1_234; i++) {
    pulse.told(`{"type":"order","id":"a","seq":${i}}`);
    pulse.waited((i * 7) % 1_234);
  }
  const told = read(pulse.take(new Map())) as { recent: { seq: number }[]; waited: number[] };
  expect(told.recent.map(({ seq }) => seq)).toEqual(
    Array.from({ length: 10 }, (_, i) => 1_224 + i),
  );
  expect(told.waited).toHaveLength(50);
  expect([told.waited[0], told.waited.at(-1)]).toEqual([0, 1_233]);
  expect(told.waited.toSorted((a, b) => a - b)).toEqual(told.waited);
});

const pulseWith = (more: object) =>
  JSON.stringify({ node: 'n', word: 'pulse', types: {}, waited: [], recent: [], ...more });

test.each([
  '',
  '7',
  'null',
  '{"word":"look","node":"n"}',
  '{"word":"pulse","node":"n"}',
  pulseWith({ types: { x: null } }),
  pulseWith({ types: { x: { transitions: 7 } } }),
  pulseWith({ types: [] }),
  pulseWith({ waited: ['a', null] }),
  pulseWith({ waited: [-1] }),
  pulseWith({ recent: [null] }),
])('bug: %j was taken for a pulse and ended the inspector', (text) => {
  expect(readPulse(Buffer.from(text))).toBeUndefined();
});
