import { expect, test } from 'vitest';
import { Reach } from '../../src/actors/reach.ts';

const answering = (answers: boolean) => ({ probe: async () => answers });

test('one probe that is missed is no outage, two are; one that is answered ends it', async () => {
  const reach = new Reach();
  await reach.probe(answering(false));
  expect(reach.ok).toBe(true);
  await reach.probe(answering(false));
  expect([reach.ok, reach.isNews]).toEqual([false, true]);
  await reach.probe(answering(true));
  expect([reach.ok, reach.isNews]).toEqual([true, false]);
});

test('where another node has lost NATS, one is enough, and is asked for at once', async () => {
  const reach = new Reach();
  expect(reach.hearsOfTrouble({ cutOff: 1 })).toBe(true);
  expect(reach.hearsOfTrouble({ cutOff: 1 })).toBe(false);
  await reach.probe(answering(false));
  expect(reach.ok).toBe(false);
});

test('a node alone without NATS waits 2 s, and 6 s after an outage for all', () => {
  const reach = new Reach();
  reach.told(false);
  expect(reach.waits({ shares: false }, 1_000)).toBe(true);
  expect(reach.waits({ shares: false }, 2_999)).toBe(true);
  expect(reach.waits({ shares: false }, 3_000)).toBe(false);
  // Nobody reaches it: that counts for nothing, until another one is back.
  expect(reach.waits({ shares: true }, 4_000)).toBe(false);
  expect(reach.waits({ shares: false }, 5_000)).toBe(true);
  expect(reach.waits({ shares: false }, 10_999)).toBe(true);
  expect(reach.waits({ shares: false }, 11_000)).toBe(false);
  reach.told(true);
  expect(reach.waits({ shares: true }, 12_000)).toBe(false);
  expect(reach.waits({ shares: false }, 13_000)).toBe(true);
  expect(reach.waits({ shares: false }, 15_000)).toBe(false);
});
