import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createClient, type PerdureClient } from '../../src/client.ts';
import { SHARDS } from '../../src/config.ts';
import { Journal, readOutcomes, until } from '../support/cluster.ts';
import { checkHistory, type HistoryReport, type JournalLine } from '../support/history.ts';
import { type Mark, nextAfter, pausesSince, readMarks } from './marks.ts';
import type { ChaosNode } from './nodes.ts';
import { beat, job, player, work } from './reportActors.ts';
import type { Servers } from './servers.ts';
import { journalFile, openWorld, type World } from './world.ts';

export interface StageOptions {
  servers: Servers;
  name: string;
  nodes: number;
  /** Nodes that run at first. Default: all. */
  startedNodes?: number;
  proxied: boolean;
  /** Actors that tick by timers, as many that tick by promises, and as many pairs that throw a ball. */
  tickers: { beats: number; works: number; pairs: number };
  dir: string;
}

/** A node that has told its id. */
export type RunningNode = ChaosNode & { readonly nodeId: string };

const SETTLE_MS = 30_000;
const REST_MS = 60_000;
const CALL_MS = 20_000;

/** A namespace with nodes and actors that tick, and what is needed to measure how faults disturb them. */
export class Stage {
  readonly world: World;
  readonly client: PerdureClient;
  readonly #options: StageOptions;
  readonly #dir: string;

  private constructor(options: StageOptions, dir: string, world: World) {
    this.#options = options;
    this.#dir = dir;
    this.world = world;
    const { natsUrl, namespace } = world;
    this.client = createClient({ natsUrl, namespace, timeoutMs: CALL_MS });
  }

  static async open(options: StageOptions): Promise<Stage> {
    const { servers, name, nodes, proxied } = options;
    const dir = join(options.dir, name);
    mkdirSync(dir, { recursive: true });
    const world = await openWorld({
      ...{ servers, namespace: name, nodes, proxied },
      file: join(import.meta.dirname, 'reportActors.ts'),
      env: { PERDURE_TEST_DIR: dir, PERDURE_LOG_LEVEL: 'info' },
      logs: join(dir, 'logs'),
    });
    const stage = new Stage(options, dir, world);
    try {
      await Promise.all(world.nodes.slice(0, options.startedNodes).map((node) => node.start()));
      await stage.#startTickers();
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  async #startTickers(): Promise<void> {
    const { client } = this;
    const { beats, works, pairs } = this.#options.tickers;
    const numbered = (count: number) => Array.from({ length: count }, (_, n) => n);
    await Promise.all([
      ...numbered(beats).map((n) => client.start(beat, { id: `b${n}` })),
      ...numbered(works).map((n) => client.start(work, { id: `w${n}` })),
      ...numbered(pairs).map(async (n) => {
        // The one that catches must be there before the ball is.
        const catches = { partner: `p${n}a`, serves: false };
        await client.start(player, { id: `p${n}b`, input: catches, until: 'committed' });
        await client.start(player, { id: `p${n}a`, input: { partner: `p${n}b`, serves: true } });
      }),
    ]);
    const count = beats + works + 2 * pairs;
    const there = async () => (await this.marks()).length === count;
    await until('all actors are there', there, CALL_MS);
  }

  /** Every actor that ticks, or those in the shards of one node. */
  marks(nodeId?: string): Promise<Mark[]> {
    return readMarks(this.world.sql, nodeId);
  }

  /** See `nextAfter`. */
  next(marks: readonly Mark[], atMs: number, timeoutMs: number, notBy?: string): Promise<number[]> {
    return nextAfter(this.world.sql, marks, atMs, timeoutMs, notBy);
  }

  /** See `pausesSince`. */
  pauses(marks: readonly Mark[]): Promise<number[]> {
    return pausesSince(this.world.sql, marks);
  }

  /** Whether the nodes that run own every shard, and none of them more than its share. */
  async isFair(): Promise<boolean> {
    const live = this.world.nodes.map(({ nodeId }) => nodeId).filter((id) => id !== undefined);
    const most = Math.ceil(SHARDS / live.length);
    const shares = await this.world.sql.query<{ owner: string | null; n: number }>(
      'SELECT owner, count(*)::int AS n FROM shard GROUP BY owner',
    );
    return shares.every(({ owner, n }) => owner !== null && live.includes(owner) && n <= most);
  }

  /** The node with most shards. */
  async busiest(): Promise<RunningNode> {
    const rows = await this.world.sql.query<{ owner: string }>(
      'SELECT owner FROM shard WHERE owner IS NOT NULL GROUP BY owner ORDER BY count(*) DESC',
    );
    for (const { owner } of rows) {
      const node = this.world.nodes.find(({ nodeId }) => nodeId === owner);
      if (node) return node as RunningNode;
    }
    throw new Error('no node that runs owns a shard');
  }

  /** Waits for fair shares and until every actor ticks. False when the shares do not become fair. */
  async settle(): Promise<boolean> {
    const fair = await until('fair shares', () => this.isFair(), SETTLE_MS).catch(() => false);
    await this.ticks(SETTLE_MS);
    return fair;
  }

  /** Waits until every actor has made a transition from now on; at most so long. */
  async ticks(timeoutMs: number): Promise<void> {
    await this.next(await this.marks(), Date.now(), timeoutMs);
  }

  /** Stops the actors, waits for rest, judges. */
  async finish(): Promise<HistoryReport> {
    const { world, client } = this;
    for (const { type, id } of await this.marks()) await client.send(type, id, { type: 'STOP' });
    const rest = async () => {
      const [row] = await world.sql.query<{ n: number }>(
        `SELECT ((SELECT count(*) FROM actor WHERE status = 'active' OR busy OR acted_seq <> seq)
               + (SELECT count(*) FROM outbox))::int AS n`,
      );
      return row?.n === 0;
    };
    const violations: string[] = [...world.surprises];
    await until('everything is at rest', rest, REST_MS).catch((error: Error) =>
      violations.push(error.message),
    );
    const report = await checkHistory({
      ...{ databaseUrl: world.databaseUrl, namespace: world.namespace },
      types: [beat, work, player, job],
      quiescent: true,
      journal: new Journal<JournalLine>(journalFile(this.#dir)).read(),
      outcomes: await readOutcomes(world),
    });
    return { ...report, violations: [...violations, ...report.violations] };
  }

  async close(): Promise<void> {
    await this.client.close();
    await this.world.close();
  }
}
