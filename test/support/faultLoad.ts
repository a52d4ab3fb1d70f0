import { expect, onTestFinished } from 'vitest';
import type { ActorType } from '../../src/actors/define.ts';
import { shardOf } from '../../src/bus/subjects.ts';
import { SHARDS } from '../../src/config.ts';
import { PURSE_START, purse, type TransferInput, transfer } from './actorsCrash.ts';
import { capture } from './actorsJournal.ts';
import { pause, readOutcomes } from './cluster.ts';
import type { Stage } from './clusterStage.ts';
import { eventually } from './services.ts';

/** Jobs that move money between purses while something goes wrong, and the judgement afterwards. */
export interface Load {
  /** Jobs that are in the log. */
  readonly accepted: number;
  /** Refusals that whoever published has seen, by code. */
  readonly refusals: ReadonlyMap<string, number>;
  /** Waits until so many more jobs are done than now. */
  flows(more: number, timeoutMs?: number): Promise<void>;
  /** Publishes nothing new, waits until everything is at rest, and judges what was recorded. */
  settle(options?: { timeoutMs?: number; types?: ActorType[] }): Promise<void>;
}

/** One purse in each shard. */
const PURSES: readonly string[] = Array.from({ length: SHARDS }, (_, shard) => {
  for (let n = 0; ; n++) if (shardOf('purse', `p${n}`, SHARDS) === shard) return `p${n}`;
});

export async function startPurses(stage: Stage): Promise<void> {
  await Promise.all(PURSES.map((id) => stage.client.start(purse, { id, until: 'committed' })));
}

/** Sends one event to each shard; resolves with how long the slowest took until it was committed, ms. */
export async function pingEachShard(stage: Stage, timeoutMs: number): Promise<number> {
  const sentAt = performance.now();
  await Promise.all(
    PURSES.map((id, n) =>
      stage.client.send(purse, id, { type: 'PING', n }, { until: 'committed', timeoutMs }),
    ),
  );
  return Math.round(performance.now() - sentAt);
}

/** Publishes so many jobs each second until it is settled. Needs the purses. */
export function startLoad(stage: Stage, perSecond = 20): Load {
  const ids: string[] = [];
  const refusals = new Map<string, number>();
  let accepted = 0;
  let stopped = false;
  let wanted = true;
  onTestFinished(() => {
    stopped = true;
    wanted = false;
  });

  const publishing = (async () => {
    const publishes: Promise<void>[] = [];
    const startedAt = performance.now();
    for (let n = 0; !stopped; n++) {
      await pause(Math.max(0, startedAt + (n * 1_000) / perSecond - performance.now()));
      ids.push(`t${n}`);
      publishes.push(publish(`t${n}`, inputOf(n)));
    }
    await Promise.all(publishes);
  })();

  /** The way docs/protocol.md asks for: again with the same message id until it is accepted. */
  async function publish(id: string, input: TransferInput): Promise<void> {
    while (wanted)
      try {
        await stage.client.start(transfer, { id, input, messageId: `start-${id}` });
        accepted++;
        return;
      } catch (error) {
        const { code = String(error), retryable } = error as { code?: string; retryable?: boolean };
        if (!retryable) throw error;
        refusals.set(code, (refusals.get(code) ?? 0) + 1);
        await pause(500);
      }
  }

  async function done(): Promise<number> {
    const [row] = await stage.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM actor WHERE type = 'transfer' AND status <> 'active'`,
    );
    return row?.n ?? 0;
  }

  return {
    get accepted() {
      return accepted;
    },
    refusals,
    async flows(more, timeoutMs = 15_000) {
      const from = await eventually(async () => ({ n: await done() }), { what: 'an answer' });
      await eventually(
        async () => {
          const now = (await done()) - from.n;
          return now >= more || Promise.reject(new Error(`${now} so far`));
        },
        { what: `${more} more jobs are done`, timeoutMs },
      );
    },
    async settle({ timeoutMs = 30_000, types = [] } = {}) {
      stopped = true;
      await publishing;
      await eventually(
        async () => {
          const now = await done();
          return now === ids.length || Promise.reject(new Error(`${now} of ${ids.length}`));
        },
        { what: 'all jobs are done', timeoutMs, everyMs: 100 },
      );
      await atRest(stage);
      await judge(stage, ids, types);
    },
  };
}

export async function atRest(stage: Stage): Promise<void> {
  await eventually(
    async () => {
      const [row] = await stage.query<{ n: number }>(
        `SELECT (SELECT count(*) FROM outbox)::int
              + (SELECT count(*) FROM actor WHERE busy OR acted_seq <> seq)::int AS n`,
      );
      return row?.n === 0 || Promise.reject(new Error(`${row?.n} are under way`));
    },
    { what: 'everything is at rest', timeoutMs: 30_000 },
  );
}

async function judge(stage: Stage, ids: string[], types: ActorType[]): Promise<void> {
  const violations = await stage.check({
    types: [transfer, purse, ...types],
    quiescent: true,
    capture,
    outcomes: await readOutcomes(stage),
    expected: {
      jobs: ids.map((id) => ({ type: 'transfer', id })),
      events: ids.map((id) => ({ type: 'transfer', id, eventId: `start-${id}` })),
    },
  });
  expect(violations).toEqual([]);
  const ended = await stage.query<{ status: string; n: number }>(
    `SELECT status, count(*)::int AS n FROM actor WHERE type = 'transfer' GROUP BY 1`,
  );
  expect(ended).toEqual([{ status: 'done', n: ids.length }]);
  const purses = await stage.query<{ snapshot: string }>(
    `SELECT snapshot FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'purse'`,
  );
  const sum = purses.reduce(
    (total, { snapshot }) => total + JSON.parse(snapshot).snapshot.context.balance,
    0,
  );
  expect(sum).toBe(PURSES.length * PURSE_START);
}

function inputOf(n: number): TransferInput {
  const from = (n * 7) % PURSES.length;
  const to = (from + 1 + (n % (PURSES.length - 1))) % PURSES.length;
  return {
    from: PURSES[from] as string,
    to: PURSES[to] as string,
    amount: 1 + (n % 100),
    chargeMs: (n * 13) % 60,
    waitMs: 20 + ((n * 37) % 400),
    shipMs: (n * 29) % 60,
    failures: n % 10 === 0 ? 1 : 0,
  };
}
