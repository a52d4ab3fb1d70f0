import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFailed } from 'vitest';
import type { ActorType } from '../../src/actors/define.ts';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { SHARDS } from '../../src/config.ts';
import type { Address } from '../../src/store/store.ts';
import {
  Journal,
  type NodeProcess,
  openSql,
  type Place,
  prepare,
  readOutcomes,
  type Sql,
  spawnNode,
} from './cluster.ts';
import { checkHistory, type HistoryOptions, type JournalLine } from './history.ts';
import { eventually, freshNamespace } from './services.ts';

/** Short, so that a test need not wait long for it. */
export const LEASE_MS = 3_000;
const LIMITS = { leaseMs: LEASE_MS, leaseRenewMs: 1_000 };

/** A node of a stage. */
export interface StageNode extends NodeProcess {
  readonly name: string;
  readonly nodeId: string;
}

export interface StageOptions extends Omit<Place, 'namespace'> {
  /** Exports the actor types. */
  file?: string;
  env?: Record<string, string>;
  limits?: Record<string, number>;
}

/** A namespace of its own, nodes in processes of their own, and what it takes to see what they do. */
export interface Stage extends Place {
  readonly dir: string;
  readonly client: PerdureClient;
  readonly journal: () => Extract<JournalLine, { kind: 'invoke' }>[];
  /** Starts a node. */
  launch(name: string, lines?: Partial<Place>): NodeProcess;
  /** Starts a node; resolves once its shards are open. */
  start(name: string, lines?: Partial<Place>): Promise<StageNode>;
  query<R>(text: string, values?: unknown[]): Promise<R[]>;
  /** Owner and epoch of each shard, by its number. */
  owners(): Promise<{ owner: string | null; epoch: number }[]>;
  /** Waits until no node owns more than its share. */
  sharedFairly(nodes: number, timeoutMs?: number): Promise<void>;
  /** Waits until the nodes own that many shards each, in ascending order of number. */
  shared(shares: number[], timeoutMs?: number): Promise<void>;
  /** Waits until everything that runs has made another transition. */
  moving(type: string, timeoutMs?: number): Promise<void>;
  /** The longest time any actor of the type stood still since then, ms. */
  longestPause(type: string, sinceMs: number): Promise<number>;
  /** Ends every actor, waits until nothing is under way, and judges all that happened. */
  judge(
    types: readonly ActorType[],
    given?: Partial<HistoryOptions> & { noJournal?: boolean },
  ): Promise<string[]>;
  /** Judges what has happened so far. */
  check(options: Pick<HistoryOptions, 'types'> & Partial<HistoryOptions>): Promise<string[]>;
  close(): Promise<void>;
}

export async function openStage(options: StageOptions): Promise<Stage> {
  const place: Place = {
    databaseUrl: options.databaseUrl,
    natsUrl: options.natsUrl,
    namespace: freshNamespace(),
  };
  await prepare(place);
  const dir = mkdtempSync(join(tmpdir(), 'perdure-stage-'));
  const journal = new Journal<JournalLine>(join(dir, 'journal.jsonl'));
  const client = createClient(place);
  const nodes: NodeProcess[] = [];
  let open: Promise<Sql> | undefined;

  onTestFailed(() => {
    for (const node of nodes) console.error(`node of pid ${node.pid}\n${complaints(node)}`);
  });

  async function query<R>(text: string, values: unknown[] = []): Promise<R[]> {
    for (let attempt = 1; ; attempt++) {
      open ??= openSql(place);
      try {
        return await (await open).query<R>(text, values);
      } catch (error) {
        // The server was away: the next question opens another connection.
        const dead = open;
        open = undefined;
        void dead?.then((sql) => sql.close()).catch(() => {});
        if (attempt === 2) throw error;
      }
    }
  }

  function launch(name: string, lines: Partial<Place> = {}): NodeProcess {
    const node = spawnNode({
      ...place,
      ...lines,
      name,
      file: options.file ?? join(import.meta.dirname, 'actorsCluster.ts'),
      limits: { ...LIMITS, ...options.limits },
      env: { PERDURE_TEST_DIR: dir, ...options.env },
    });
    nodes.push(node);
    return node;
  }

  const stage: Stage = {
    ...place,
    dir,
    client,
    journal: () => journal.read().filter((line) => line.kind === 'invoke'),
    query,
    launch,
    async start(name, lines) {
      const node = launch(name, lines);
      return { ...node, name, nodeId: await node.ready };
    },
    owners: () => query('SELECT owner, epoch::int FROM shard ORDER BY shard'),
    async shared(shares, timeoutMs = 15_000) {
      await eventually(
        async () => {
          const rows = await query<{ n: number }>(
            'SELECT count(*)::int AS n FROM shard GROUP BY owner ORDER BY n',
          );
          const now = rows.map(({ n }) => n);
          return `${now}` === `${shares}` ? 'shared' : Promise.reject(new Error(`${now}`));
        },
        { what: `shares ${shares}`, timeoutMs },
      );
    },
    async sharedFairly(nodes, timeoutMs = 15_000) {
      await eventually(
        async () => {
          const rows = await query<{ n: number }>(
            'SELECT count(*)::int AS n FROM shard GROUP BY owner ORDER BY n',
          );
          const now = rows.map(({ n }) => n);
          const fair = now.length === nodes && now.every((n) => n <= Math.ceil(SHARDS / nodes));
          return fair || Promise.reject(new Error(`${now}`));
        },
        { what: `fair shares of ${nodes}`, timeoutMs },
      );
    },
    async moving(type, timeoutMs = 10_000) {
      const [from] = await query<{ at: Date }>('SELECT now() AS at');
      await eventually(
        async () => {
          const still = await query(
            `SELECT a.id, a.state, a.seq::int, a.busy, a.crashes, a.shard, s.owner, s.epoch::int
               FROM current_actor a JOIN shard s USING (shard)
              WHERE a.type = $1 AND a.status = 'active' AND a.updated_at <= $2`,
            [type, from?.at],
          );
          const told = () => still.slice(0, 5).map((row) => JSON.stringify(row));
          return still.length === 0 || Promise.reject(new Error(`${still.length}: ${told()}`));
        },
        { what: `every ${type} moves`, timeoutMs },
      );
    },
    async longestPause(type, sinceMs) {
      const [row] = await query<{ ms: number }>(
        `SELECT max(extract(epoch FROM at - before) * 1000)::float8 AS ms FROM (
           SELECT at, lag(at) OVER (PARTITION BY type, id ORDER BY seq) AS before
             FROM transition WHERE type = $1) AS steps
          WHERE at > to_timestamp($2 / 1000.0)`,
        [type, sinceMs],
      );
      return Math.round(row?.ms ?? 0);
    },
    async judge(types, { noJournal = false, ...given } = {}) {
      const living = await query<Address>(`SELECT type, id FROM actor WHERE status = 'active'`);
      await Promise.all(living.map(({ type, id }) => client.cancel(type, id)));
      await eventually(
        async () => {
          const rows = await query(
            `SELECT type, id, state FROM current_actor WHERE status = 'active' OR busy OR acted_seq <> seq
              UNION ALL SELECT kind, message_id, body FROM outbox`,
          );
          return rows.length === 0 || Promise.reject(new Error(JSON.stringify(rows.slice(0, 5))));
        },
        { what: 'rest', timeoutMs: 20_000 },
      );
      const options = { types, quiescent: true, outcomes: await readOutcomes(place), ...given };
      if (noJournal) return (await checkHistory({ ...place, ...options })).violations;
      return stage.check(options);
    },
    async check(given) {
      const { violations } = await checkHistory({ ...place, journal: journal.read(), ...given });
      return violations;
    },
    async close() {
      await Promise.all(nodes.map((node) => node.kill('SIGKILL')));
      await client.close();
      await (await open?.catch(() => undefined))?.close();
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
    },
  };
  return stage;
}

/** Warnings and errors of a node, newest last. */
function complaints(node: NodeProcess): string {
  const lines = node.stderr().split('\n');
  return lines
    .filter((line) => !/^\{"level":[123]0,/.test(line))
    .slice(-40)
    .join('\n');
}

/** Starts endless actors, and waits until all of them move. */
export async function startTicks(stage: Stage, count: number, type: ActorType): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, n) => stage.client.start(type, { id: `t${n}` })),
  );
  await eventually(
    async () => {
      const [row] = await stage.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM current_actor WHERE type = $1 AND seq > 3',
        [type.name],
      );
      return row?.n === count;
    },
    { what: `${count} of ${type.name} move` },
  );
}

/** Work of that length for each of so many actors; resolves once all of it runs. */
export async function startHauls(stage: Stage, count: number, ms: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, n) =>
      stage.client.start('haul', { id: `h${n}`, input: { ms } }),
    ),
  );
  const isStart = ({ key, phase }: { key: string; phase: string }) =>
    phase === 'start' && key.startsWith('haul/');
  await eventually(() => stage.journal().filter(isStart).length >= count, {
    what: 'the long work runs',
  });
}

/** Keys of invokes that ran more than once, of those that begin so. */
export function ranTwice(stage: Stage, prefix = ''): string[] {
  const starts = new Map<string, number>();
  for (const { key, phase } of stage.journal())
    if (phase === 'start' && key.startsWith(prefix)) starts.set(key, (starts.get(key) ?? 0) + 1);
  return [...starts].filter(([, times]) => times > 1).map(([key]) => key);
}
