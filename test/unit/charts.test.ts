import { expect, test } from 'vitest';
import type { Chart } from '../../src/actors/chart.ts';
import { Charts } from '../../src/inspect/charts.ts';
import type { MachineRow, SearchStore } from '../../src/store/search.ts';
import { machines } from '../support/inspectSite.ts';

// What is drawn, when, and how often.

const [record] = machines;
if (!record) throw new Error('no machine is recorded');

/** Machines that are recorded, and which of them were read. */
function recorded(...rows: Pick<MachineRow, 'type' | 'version' | 'recorded_at'>[]) {
  const read: string[] = [];
  const definitions = new Map<string, string>();
  const store: Pick<SearchStore, 'machine' | 'machines'> = {
    machines: async () => rows,
    async machine(type, version) {
      read.push(`${type}@${version}`);
      const row = rows.find((one) => one.type === type && one.version === version);
      return row && { ...row, definition: definitions.get(type) ?? record?.definition ?? '' };
    },
  };
  return { rows, read, definitions, charts: new Charts(store as SearchStore) };
}

const row = (type: string, version: string, recorded_at = '2026-01-01T00:00:00.000Z') => ({
  ...{ type, version, recorded_at },
});

/** A machine the library does not lay out. */
function broken(): string {
  const chart = JSON.parse(record?.definition ?? '') as Chart;
  const [state] = chart.machines[0]?.root.states ?? [];
  state?.edges.push({ id: 'lost', event: 'GO', targets: ['nowhere'], actions: [] });
  return JSON.stringify(chart);
}

test('the newest version of each type is drawn ahead, once, and again when it is recorded anew', async () => {
  const { rows, read, charts } = recorded(row('order', '2'), row('order', '1'), row('ship', '1'));
  await charts.drawAhead();
  expect(read.toSorted()).toEqual(['order@2', 'ship@1']);
  await charts.drawAhead();
  expect(read).toHaveLength(2);
  rows[2] = row('ship', '1', '2026-01-02T00:00:00.000Z');
  await charts.drawAhead();
  expect(read.slice(2)).toEqual(['ship@1']);
  const { down } = await charts.layout('order', '2', []);
  expect(down.states.map(({ id }) => id)).toContain('order.open.waiting');
});

test('a machine that cannot be drawn refuses whoever asks, and keeps no other from being drawn', async () => {
  const { definitions, charts } = recorded(row('odd', '1'), row('order', '1'));
  definitions.set('odd', broken());
  await charts.drawAhead();
  await expect(charts.layout('odd', '1', [])).rejects.toThrow();
  expect((await charts.layout('order', '1', [])).right.edges.length).toBeGreaterThan(0);
});

test('several are drawn at the same time', async () => {
  const { charts } = recorded(row('order', '1'), row('ship', '1'));
  const [order, ship] = await Promise.all([
    charts.layout('order', '1', []),
    charts.layout('ship', '1', []),
  ]);
  expect(order).toEqual(ship);
});

test('nothing is drawn ahead while the machines cannot be read', async () => {
  const { charts } = recorded();
  const store = { machines: async () => Promise.reject(new Error('away')) };
  await new Charts(store as unknown as SearchStore).drawAhead();
  await charts.drawAhead();
});
