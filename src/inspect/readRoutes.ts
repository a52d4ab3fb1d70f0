import { machineAt } from '../actors/chart.ts';
import { systemClock } from '../clock.ts';
import { PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { viewActor } from './actorView.ts';
import type { Charts } from './charts.ts';
import { viewNodes, viewShards, withLags } from './clusterView.ts';
import type { Counts } from './counts.ts';
import type { Engine } from './engine.ts';
import { afterIn, FILTER, reachOf, searchIn } from './filter.ts';
import { historyRoutes } from './historyRoutes.ts';
import { assertReason } from './letterReason.ts';
import type { Live } from './live.ts';
import { viewMailbox } from './mailboxView.ts';
import { counted, standing, UNCOUNTED } from './overview.ts';
import { CHEAP, Rested } from './rested.ts';
import { ANSWERED, type Field, get, LIMIT, type Route } from './route.ts';
import type { ShardReaders } from './shardReaders.ts';
import type { Vocabulary } from './vocabulary.ts';

const COUNT_MAX = 10_000;
const AFTER: Field = { kind: 'text', about: 'What next was.' };
const PATH: Field = {
  kind: 'text',
  about: 'Which machine below the root: one src for each level, separated by slashes.',
};

const COUNTS: Readonly<Record<string, Field>> = {
  counts: {
    kind: 'yes',
    about: 'false: at once, with null for what every actor would be counted for.',
  },
};

/** What routes that look need. */
export interface Sources {
  store: ReadStore;
  charts: Charts;
  counts: Counts;
  vocabulary: Vocabulary;
  live: Live;
  readers: () => Promise<ShardReaders | undefined>;
  mailbox: Engine['mailbox'];
  namespace: string;
  /** Whether callers are asked for a token. */
  locked: boolean;
}

/** Everything that can be asked without changing anything. */
export function readRoutes(sources: Sources): Route[] {
  const { store, charts, counts, vocabulary, live } = sources;
  // Pages ask for these every few seconds, and many may be open: a second old is new enough.
  const told = new Rested(() => standing(store, sources.readers), systemClock, CHEAP);
  const nodes = new Rested(() => store.nodes(), systemClock, CHEAP);
  const shards = new Rested(() => store.shards(), systemClock, CHEAP);
  return [
    get('/api/me', 'The role of who asks, and the namespace that answers.', async ({ role }) => ({
      role,
      namespace: sources.namespace,
      version: VERSION,
      locked: sources.locked,
    })),
    get(
      '/api/overview',
      'What there is, and what needs a human first.',
      async ({ query }) => {
        const all = query.yes('counts') === false ? UNCOUNTED : counted(counts);
        const [known, rest] = await Promise.all([told.get(), all]);
        return { ...known, ...rest };
      },
      COUNTS,
    ),
    get(
      '/api/actors',
      'Actors in the order of type and id, as far as it gets in its time; ask again with next until complete.',
      async ({ query }) => {
        const limit = query.whole('limit') ?? 50;
        const after = afterIn(query.text('after'));
        const search = await vocabulary.understand(searchIn(query));
        const { actors, ...reach } = await store.searchActors(search, { limit, after });
        return { actors, ...reachOf(reach) };
      },
      { ...FILTER, limit: LIMIT, after: AFTER },
    ),
    get(
      '/api/count',
      `How many actors match, as far as it gets in its time, at least; more: above ${COUNT_MAX} it stops counting.`,
      async ({ query }) => {
        const after = afterIn(query.text('after'));
        const page = { limit: COUNT_MAX + 1, after };
        const search = await vocabulary.understand(searchIn(query));
        const { count, ...reach } = await store.countActors(search, page);
        const more = count > COUNT_MAX;
        return { count: Math.min(count, COUNT_MAX), more, ...reachOf(reach) };
      },
      { ...FILTER, after: AFTER },
    ),
    get(
      '/api/actors/{type}/{id}',
      'One actor: state, context, timers, what runs, its family.',
      ({ path }) => actor(sources, path),
    ),
    ...historyRoutes(store),
    get(
      '/api/types',
      'Actor types: versions that are recorded, and how many actors there are.',
      async ({ query }) => types(sources, query.yes('counts') !== false),
      COUNTS,
    ),
    get(
      '/api/types/{type}/population',
      'How many actors of a type are in each state.',
      async ({ path }) => {
        const missing = await vocabulary.missing(path.type as string);
        if (missing) throw new PerdureError('not_found', missing.message);
        return counts.population(path.type);
      },
    ),
    get(
      '/api/types/{type}/versions/{version}/chart',
      'The machine of a version, as the nodes that run it have recorded it.',
      ({ path }) => charts.chart(path.type as string, path.version as string),
    ),
    get(
      '/api/types/{type}/versions/{version}/layout',
      'Where a drawing of the machine has its states and edges.',
      async ({ path, query }) => ({
        layout: await charts.layout(
          path.type as string,
          path.version as string,
          pathIn(query.text('path')),
        ),
      }),
      { path: PATH },
    ),
    get(
      '/api/dead-letters',
      'Dead letters, the newest first; reasons: how many of the newest 10,000 have which.',
      async ({ query }) => {
        const [reason, pending, after] = [
          query.text('reason'),
          query.yes('pending'),
          query.text('after'),
        ];
        const limit = query.whole('limit') ?? 50;
        const which = pending === undefined ? {} : { pending };
        await assertReason(store, reason);
        const [letters, reasons] = await Promise.all([
          store.deadLetters({
            limit: limit + 1,
            ...which,
            ...(reason !== undefined && { reason }),
            ...(after !== undefined && { after }),
          }),
          store.deadLetterReasons(which),
        ]);
        const page = letters.slice(0, limit);
        const last = letters.length > limit ? page.at(-1) : undefined;
        return {
          dead_letters: page,
          reasons: Object.fromEntries(reasons.map((one) => [one.reason, one.count])),
          next: last?.dead_letter_id ?? null,
        };
      },
      {
        reason: { kind: 'text', about: 'Only those with this code.' },
        pending: { kind: 'yes', about: 'true: those not redriven yet; false: the others.' },
        limit: LIMIT,
        after: { kind: 'text', about: 'Where to go on: what next was in the answer before.' },
      },
    ),
    get(
      '/api/dead-letters/{letter}',
      'One dead letter with its headers and its body.',
      async ({ path }) => {
        const found = await store.deadLetter(path.letter as string);
        if (!found) throw new PerdureError('not_found', `There is no dead letter ${path.letter}.`);
        return { dead_letter: { ...found, ...bodyText(found.body) } };
      },
    ),
    get(
      '/api/quarantined',
      'Actors nothing runs for until somebody releases them.',
      async ({ query }) => ({
        quarantined: await store.quarantined({ limit: query.whole('limit') ?? 50 }),
      }),
      { limit: LIMIT },
    ),
    get('/api/parked', 'Versions that some live node cannot open.', async () => ({
      parked: await counts.parked(),
    })),
    get('/api/nodes', 'The nodes, and how each is.', async () => ({
      nodes: viewNodes(await nodes.get()),
    })),
    get(
      '/api/shards',
      'The shards: owner, epoch, since when, what waits (lag), how each is.',
      async () => {
        const [rows, nodeRows, readers] = await Promise.all([
          shards.get(),
          nodes.get(),
          sources.readers(),
        ]);
        return { shards: withLags(viewShards(rows, nodeRows), readers) };
      },
    ),
    get(
      '/api/live',
      'Server-sent events: transitions as they are committed, and rates each second. Last-Event-ID resumes.',
      async ({ query, request, response }) => {
        const [type, id] = [query.token('type'), query.token('id')];
        const only = query.text('only') as 'rates' | undefined;
        if (only !== undefined && (type ?? id) !== undefined)
          throw new PerdureError(
            'bad_options',
            'only=rates is of all types: leave type and id out.',
          );
        if (type !== undefined) await vocabulary.understand({ type });
        await live.open(request, response, { type, id, only });
        return ANSWERED;
      },
      {
        type: { kind: 'text', about: 'Only this actor type.' },
        id: { kind: 'text', about: 'Only this actor and its family.' },
        only: {
          kind: 'text',
          about: 'No transitions but the last ones, once a second, with the rates.',
          oneOf: ['rates'],
        },
      },
    ),
  ];
}

const pathIn = (text: string | undefined): string[] =>
  text === undefined ? [] : text.split('/').slice(0, 32);

async function actor(
  { store, charts, mailbox }: Sources,
  { type = '', id = '' }: Readonly<Record<string, string>>,
) {
  const found = await viewActor(store, charts, type, id);
  if (found) return { actor: { ...found, mailbox: await viewMailbox(store, mailbox, found) } };
  const parked = await store.parkedFor(type, id);
  const waiting = parked
    ? ` ${parked.messages} messages for it wait for a node that can open it.`
    : '';
  throw new PerdureError('not_found', `There is no ${type}/${id}.${waiting}`);
}

/** Without counts a type that no node has recorded is not known. */
async function types({ store, charts, counts }: Sources, areCounted: boolean) {
  const [machines, population] = await Promise.all([
    store.machines(),
    areCounted ? counts.population() : null,
  ]);
  const rows = population?.rows ?? [];
  const names = [...new Set([...machines, ...rows].map(({ type }) => type))].sort();
  return {
    counted_at: population?.counted_at ?? null,
    types: await Promise.all(
      names.map(async (type) => {
        const versions = machines.filter((machine) => machine.type === type);
        const newest = versions[0] && (await charts.find(type, versions[0].version));
        return {
          type,
          versions: versions.map(({ version, recorded_at }) => ({ version, recorded_at })),
          machine: newest ? machineAt(newest)?.id : null,
          /** Fields of its input that actors can be found by. */
          searchable: newest?.searchable ?? [],
          counts:
            population && sums(rows.filter((row) => row.type === type && row.path.length === 0)),
        };
      }),
    ),
  };
}

function sums(rows: readonly { status: string; count: number }[]): Record<string, number> {
  const found: Record<string, number> = { active: 0, done: 0, error: 0, stopped: 0 };
  for (const { status, count } of rows) found[status] = (found[status] ?? 0) + count;
  return found;
}

/** As text when it is text, whatever was published otherwise. */
function bodyText(body: Uint8Array): { body: string; body_encoding: 'utf8' | 'base64' } {
  try {
    return { body: new TextDecoder('utf-8', { fatal: true }).decode(body), body_encoding: 'utf8' };
  } catch {
    return { body: Buffer.from(body).toString('base64'), body_encoding: 'base64' };
  }
}
