import type { PerdureClient } from '../../src/index.ts';

/** Orders in every place, some that failed, some dead letters. */
export async function seed(client: PerdureClient, many = 60): Promise<void> {
  const start = (id: string, input: object) =>
    client.start('order', { id, input, until: 'committed' });
  const send = (id: string, type: string, more: object = {}) =>
    client.send('order', id, { type, ...more }, { until: 'committed' });
  await Promise.all(
    Array.from({ length: many }, async (_, n) => {
      const id = `o-${String(n + 100)}`;
      await start(id, { total: n % 3 === 0 ? 40 : 400 + n, customer: `c-${n % 7}` });
      if (n % 2 === 0) await send(id, 'ADD', { item: `book ${n}` });
      if (n % 2 === 0) await send(id, 'SUBMIT');
      if (n % 4 === 0 && n % 3 !== 0) await send(id, 'HOLD');
      if (n % 6 === 0) await send(id, 'PAY');
    }),
  );
  await start('o-7', { total: 250, customer: 'ada' });
  await send('o-7', 'ADD', { item: 'lamp' });
  await send('o-7', 'ADD', { item: 'desk' });
  await send('o-7', 'SUBMIT');
  await send('o-7', 'HOLD');
  await send('o-7', 'RESUME');
  await send('o-7', 'APPROVE', { by: 'grace' });
  await start('o-13', { total: 13, customer: 'lin' });
  await send('o-13', 'SUBMIT');
  await send('o-13', 'PAY');
  await start('o-big', { total: 2_000_000, customer: 'max' });
  await send('o-big', 'ADD', { item: 'yacht' });
  await send('o-big', 'SUBMIT');
  await send('o-big', 'APPROVE', { by: 'grace' });
  await send('o-big', 'PAY');
  await Promise.all(
    Array.from({ length: many }, (_, n) =>
      client.start('ping', { id: `p-${n}`, input: { fails: n % 12 === 0 } }),
    ),
  );
  // Nobody is there to hear these: dead letters.
  const lost = { until: 'committed', timeoutMs: 3_000 } as const;
  for (const id of ['o-900', 'o-901', 'o-902'])
    await client.send('order', id, { type: 'PAY' }, lost).catch(() => {});
  await client.start('invoice', { id: 'i-1', input: {}, ...lost }).catch(() => {});
}
