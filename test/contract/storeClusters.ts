import pg from 'pg';
import { type Clock, sleep, systemClock } from '../../src/clock.ts';
import { LIMITS, namespace } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openReadStore, openStore, type PostgresStore } from '../../src/store/postgres.ts';
import { nodeInfo, type StoreCluster } from './storeFixtures.ts';
import { CONTRACT_SHARDS } from './storeStage.ts';

const log = createLogger({ level: 'silent' });
const LEASE_MS = 60_000;
let namespaces = 0;

/** A cluster whose time only moves when told to. */
export async function memoryCluster(): Promise<StoreCluster> {
  let now = 1_700_000_000_000;
  const clock: Clock = { ...systemClock, now: () => now };
  const notes: string[] = [];
  const store = createMemoryStore({
    clock,
    shards: CONTRACT_SHARDS,
    transaction() {
      const added: string[] = [];
      const query = async (_text: string, values?: readonly unknown[]) => {
        added.push(String(values?.[0]));
        return { rows: [], rowCount: 1 };
      };
      return { tx: { query }, commit: () => void notes.push(...added), rollback: () => {} };
    },
  });
  return {
    reads: store,
    notes: {
      add: (tx, note) => tx.query('add', [note]),
      read: async () => notes.toSorted(),
    },
    async node(leaseMs = LEASE_MS, nodeId = crypto.randomUUID(), opens) {
      await store.register(nodeInfo(nodeId, opens), leaseMs);
      return { nodeId, store, kill: async () => store.dropSession(nodeId) };
    },
    async wait(ms) {
      now += ms;
    },
    async close() {},
  };
}

/** A cluster in a schema of its own. */
export async function postgresCluster(databaseUrl: string): Promise<StoreCluster> {
  const space = namespace(`n${++namespaces}`);
  const shards = CONTRACT_SHARDS;
  const options = { databaseUrl, namespace: space, limits: LIMITS, log };
  await migrate({ databaseUrl, namespace: space, shards, log });
  const reads = await openReadStore(options);
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const table = `public.notes_${space.name}`;
  await client.query(`CREATE TABLE ${table} (note text)`);
  const stores = new Set<PostgresStore>();
  return {
    reads,
    notes: {
      add: (tx, note) => tx.query(`INSERT INTO ${table} VALUES ($1)`, [note]),
      read: async () =>
        (await client.query(`SELECT note FROM ${table} ORDER BY note`)).rows.map(
          ({ note }) => note,
        ),
    },
    async node(leaseMs = LEASE_MS, nodeId = crypto.randomUUID(), opens) {
      const store = await openStore({ ...options, shards });
      stores.add(store);
      await store.register(nodeInfo(nodeId, opens), leaseMs);
      return { nodeId, store, kill: async () => store.destroy() };
    },
    wait: (ms) => sleep(systemClock, ms),
    async close() {
      await Promise.all([reads, ...stores].map((store) => store.close()));
      await client.end();
    },
  };
}
