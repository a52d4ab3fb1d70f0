import { assertToken } from '../bus/subjects.ts';
import { PerdureError } from '../errors.ts';
import type { ReadStore } from '../store/read.ts';
import { VERSION } from '../version.ts';
import { viewNodes, viewShards } from './clusterView.ts';

const LIMIT_MAX = 10_000;
const DEAD_LETTERS_COUNTED = 10_000;
const QUARANTINED_COUNTED = 10_000;

/** Answers a URL's path from what is recorded. @throws PerdureError `not_found`, `bad_options`, `bad_subject` */
export async function answer(store: ReadStore, url: URL): Promise<unknown> {
  const [first = '', ...rest] = url.pathname.split('/').filter((part) => part !== '');
  const query = new Query(url.searchParams);
  switch (rest.length === 0 ? first : '') {
    case '':
      break;
    case 'readyz':
      query.allow();
      await store.nodes();
      return { ready: true };
    case 'nodes':
      query.allow();
      return { nodes: viewNodes(await store.nodes()) };
    case 'shards':
      query.allow();
      return shards(store);
    case 'dead-letters':
      return deadLetters(store, query);
    case 'quarantined':
      query.allow('limit');
      return { quarantined: await store.quarantined(query.whole('limit', LIMIT_MAX)) };
    case 'actors':
      return actors(store, query);
  }
  if (first === '') {
    query.allow();
    return overview(store);
  }
  if (first === 'actors' && rest.length >= 2) {
    const [type = '', id = '', what] = rest;
    assertToken('type', type);
    assertToken('id', id);
    if (rest.length === 2) return actor(store, type, id, query);
    if (rest.length === 3 && what === 'history') return history(store, type, id, query);
  }
  throw new PerdureError('not_found', `There is nothing at ${url.pathname}.`);
}

async function overview(store: ReadStore) {
  const [actors, nodes, shards, waiting, quarantined] = await Promise.all([
    store.counts(),
    store.nodes(),
    store.shards(),
    store.deadLetters({ pending: true, limit: DEAD_LETTERS_COUNTED }),
    store.quarantined({ limit: QUARANTINED_COUNTED }),
  ]);
  const live = nodes.filter((node) => node.live);
  const owners = new Set(live.map((node) => node.node_id));
  const reasons: Record<string, number> = {};
  for (const { reason } of waiting) reasons[reason] = (reasons[reason] ?? 0) + 1;
  return {
    version: VERSION,
    actors,
    nodes: { live: live.length, known: nodes.length },
    shards: {
      all: shards.length,
      owned: shards.filter(({ owner }) => owner !== null && owners.has(owner)).length,
    },
    dead_letters: {
      waiting: waiting.length,
      /** More wait than were counted. */
      more: waiting.length === DEAD_LETTERS_COUNTED,
      reasons,
    },
    quarantined: quarantined.length,
  };
}

/** As far as Postgres knows: without lag, and without the health that only NATS could tell. */
async function shards(store: ReadStore) {
  const [rows, nodes] = await Promise.all([store.shards(), store.nodes()]);
  return { shards: viewShards(rows, nodes).map(({ lag: _lag, ...shard }) => shard) };
}

async function actors(store: ReadStore, query: Query) {
  query.allow('type', 'status', 'state', 'limit');
  return {
    actors: await store.listActors({
      ...query.text('type'),
      ...query.text('status'),
      ...query.text('state'),
      ...query.whole('limit', LIMIT_MAX),
    }),
  };
}

async function actor(store: ReadStore, type: string, id: string, query: Query) {
  query.allow();
  const found = await store.actor(type, id);
  if (!found) throw new PerdureError('not_found', `There is no ${type}/${id}.`);
  return { actor: { ...found, snapshot: JSON.parse(found.snapshot) } };
}

async function history(store: ReadStore, type: string, id: string, query: Query) {
  query.allow('fromSeq', 'limit');
  const rows = await store.history(type, id, {
    ...query.whole('fromSeq', Number.MAX_SAFE_INTEGER),
    ...query.whole('limit', LIMIT_MAX),
  });
  if (rows.length === 0 && !(await store.actor(type, id)))
    throw new PerdureError('not_found', `There is no ${type}/${id}.`);
  return {
    transitions: rows.map((row) => ({ ...row, snapshot: JSON.parse(row.snapshot) })),
  };
}

async function deadLetters(store: ReadStore, query: Query) {
  query.allow('reason', 'pending', 'limit');
  const pending = query.text('pending').pending;
  if (pending !== undefined && pending !== 'true' && pending !== 'false')
    throw new PerdureError('bad_options', 'pending must be true or false.');
  return {
    dead_letters: await store.deadLetters({
      ...query.text('reason'),
      ...query.whole('limit', LIMIT_MAX),
      ...(pending === undefined ? {} : { pending: pending === 'true' }),
    }),
  };
}

/** The parameters of a URL; each is asked for by name, and a misspelt one is refused. */
class Query {
  readonly #params: URLSearchParams;

  constructor(params: URLSearchParams) {
    this.#params = params;
  }

  allow(...names: string[]): void {
    for (const name of this.#params.keys())
      if (!names.includes(name))
        throw new PerdureError(
          'bad_options',
          `Unknown parameter ${JSON.stringify(name.slice(0, 64))}; known here: ${names.join(', ') || 'none'}.`,
        );
  }

  text<N extends string>(name: N): { [K in N]?: string } {
    const value = this.#params.get(name);
    return (value === null || value === '' ? {} : { [name]: value }) as { [K in N]?: string };
  }

  whole<N extends string>(name: N, max: number): { [K in N]?: number } {
    const text = this.text(name)[name];
    if (text === undefined) return {};
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new PerdureError('bad_options', `${name} must be a whole number from 1 to ${max}.`);
    return { [name]: value } as { [K in N]?: number };
  }
}
