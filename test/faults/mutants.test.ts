import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { counter } from '../support/actors.ts';
import { haul } from '../support/actorsCluster.ts';
import { pause, randomFrom } from '../support/cluster.ts';
import { runCrash } from '../support/clusterCrash.ts';
import { openStage, startHauls } from '../support/clusterStage.ts';
import type { MUTANTS } from '../support/mutate.ts';
import { openNetwork } from '../support/network.ts';
import { eventually, freshNamespace, seed, startOwnServices } from '../support/services.ts';

// Each rule of the engine is broken in turn; a check that does not notice is worth nothing.

let services: Awaited<ReturnType<typeof startOwnServices>>;
let dir: string;

beforeEach(async () => {
  services = await startOwnServices();
  dir = mkdtempSync(join(tmpdir(), 'perdure-mutant-'));
});
afterEach(async () => {
  await services?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
});

const mutated = (name: keyof typeof MUTANTS): Record<string, string> => ({
  PERDURE_MUTANT: name,
  NODE_OPTIONS: `--import=${import.meta.resolve('../support/mutate.ts')}`,
});

/** A crash run of which the mutant must make something wrong. */
async function crash(name: keyof typeof MUTANTS | null, kills: [number, number]) {
  const { violations } = await runCrash({
    seed: seed(),
    jobs: 150,
    seconds: 4,
    databaseUrl: services.postgres.url,
    natsUrl: services.nats.url,
    namespace: freshNamespace(),
    dir,
    killEveryMs: kills,
    finishMs: 15_000,
    env: name === null ? {} : mutated(name),
  });
  return violations;
}

test('as it is, the engine passes', async () => {
  expect(await crash(null, [400, 900])).toEqual([]);
}, 90_000);

test('with the attempt in the idempotency key, a key turns up that no transition started', async () => {
  const violations = await crash('attempt in the key', [3_000, 3_000]);
  expect(violations.join('\n')).toMatch(/no committed transition|nobody started|no transition/i);
}, 90_000);

test('with the acknowledgement before the commit, effects run that nothing recorded wants', async () => {
  const violations = await crash('ack before commit', [300, 700]);
  expect(violations.join('\n')).toMatch(/before its transition/);
}, 90_000);

test('with the cursor moved past a gap, events are lost', async () => {
  const random = randomFrom(seed());
  const network = await openNetwork({
    natsUrls: [services.nats.url],
    databaseUrl: services.postgres.url,
  });
  const stage = await openStage({
    natsUrl: services.nats.url,
    databaseUrl: services.postgres.url,
    file: join(import.meta.dirname, '../support/actors.ts'),
    env: mutated('cursor past a gap'),
  });
  try {
    const line = await network.line('n1');
    await stage.start('n1', { natsUrl: line.natsUrl });
    const ids = Array.from({ length: 8 }, (_, n) => `c${n}`);
    await Promise.all(ids.map((id) => stage.client.start(counter, { id })));
    let n = 0;
    const sent: { type: string; id: string; eventId: string }[] = [];
    for (let round = 0; round < 30; round++) {
      const burst = Array.from({ length: 300 }, () => {
        const id = ids[n++ % ids.length] as string;
        sent.push({ type: 'counter', id, eventId: `e${n}` });
        return stage.client.send(counter, id, { type: 'ADD', n }, { messageId: `e${n}` });
      });
      // While some of it is being delivered.
      await pause(random() * 40);
      await line.reset('nats');
      await Promise.all(burst);
    }
    // What is lost shows once everything else has arrived.
    let seen = -1;
    await eventually(
      async () => {
        const [row] = await stage.query<{ n: number }>('SELECT count(*)::int AS n FROM transition');
        const still = row?.n === seen;
        seen = row?.n ?? 0;
        return still;
      },
      { what: 'nothing moves any more', everyMs: 1_500, timeoutMs: 30_000 },
    );
    const violations = await stage.check({ types: [counter], expected: { events: sent } });
    expect(violations.join('\n')).toMatch(/is nowhere|lost|never/i);
  } finally {
    await stage.close();
    await network.close();
  }
}, 90_000);

test('without the fence, a commit of an owner of yesterday lands', async () => {
  const network = await openNetwork({
    natsUrls: [services.nats.url],
    databaseUrl: services.postgres.url,
  });
  const stage = await openStage({
    natsUrl: services.nats.url,
    databaseUrl: services.postgres.url,
    env: mutated('no fence'),
  });
  try {
    const line = await network.line('cut');
    await stage.start('n1');
    const cut = await stage.start('n2', line);
    await stage.shared([32, 32]);
    await startHauls(stage, 24, 4_000);
    await pause(3_000);
    // The results are sent and held up on the way; the other node begins again.
    await line.cut('postgres', 'stall');
    await eventually(
      async () => (await stage.owners()).every(({ owner }) => owner !== cut.nodeId),
      { what: 'the shards are taken', timeoutMs: 15_000 },
    );
    await pause(1_500);
    await line.heal();
    await eventually(
      async () => {
        const rows = await stage.query(`SELECT FROM actor WHERE status = 'active'`);
        return rows.length === 0;
      },
      { what: 'all work is done', timeoutMs: 30_000 },
    );
    const violations = await stage.check({ types: [haul] });
    expect(violations.join('\n')).toMatch(/had reached/);
  } finally {
    await stage.close();
    await network.close();
  }
}, 90_000);
