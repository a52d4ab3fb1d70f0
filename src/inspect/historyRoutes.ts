import { PerdureError } from '../errors.ts';
import { contextOf } from '../store/inspect.ts';
import type { HistoryRow, ReadStore } from '../store/read.ts';
import { isWrapped } from '../textCodec.ts';
import { diffOf } from './diff.ts';
import { effectsThen, type Moment } from './effectsThen.ts';
import { get, LIMIT, type Route } from './route.ts';
import { TEST_CASE_REFUSALS, testCaseOf } from './testCase.ts';

/** What can be asked of an actor's past. */
export function historyRoutes(store: ReadStore): Route[] {
  return [
    get(
      '/api/actors/{type}/{id}/history',
      'Its transitions, the first one first, without snapshots.',
      ({ path, query }) => history(store, path, query.whole('from'), query.whole('limit')),
      { from: { kind: 'whole', about: 'Start with this transition.' }, limit: LIMIT },
    ),
    get(
      '/api/actors/{type}/{id}/history/{seq}',
      'One transition with the snapshot after it, and what ran then.',
      async ({ path }) => {
        const moment = await momentOf(store, path, Number(path.seq));
        const effects = await effectsThen(moment, (seq) => find(store, path, seq));
        return { transition: { ...withSnapshot(moment.row), effects } };
      },
    ),
    get(
      '/api/actors/{type}/{id}/diff',
      'What changed in context and state between two transitions.',
      async ({ path, query }) => {
        const to = query.whole('to') ?? 1;
        const from = query.whole('from') ?? to - 1;
        const [before, after] = await Promise.all([
          from === 0 ? undefined : step(store, path, from),
          step(store, path, to),
        ]);
        return { from, to, changes: diffOf(before && shown(before), shown(after)) };
      },
      {
        from: { kind: 'whole', about: 'Default: the one before to.' },
        to: { kind: 'whole', about: 'Default 1.' },
      },
    ),
    {
      ...get(
        '/api/actors/{type}/{id}/test-case',
        'Its history as a test that gives it to the machine anew.',
        async ({ path, query }) => ({
          test_case: await testCaseOf(store, path.type ?? '', path.id ?? '', query.whole('seq')),
        }),
        { seq: { kind: 'whole', about: 'Up to this transition; default: the last.' } },
      ),
      refuses: TEST_CASE_REFUSALS,
    },
  ];
}

async function history(
  store: ReadStore,
  { type = '', id = '' }: Readonly<Record<string, string>>,
  fromSeq = 1,
  limit = 50,
) {
  const rows = await store.history(type, id, { fromSeq, limit });
  if (rows.length === 0 && !(await store.actor(type, id)))
    throw new PerdureError('not_found', `There is no ${type}/${id}.`);
  return {
    transitions: rows.map(({ snapshot: _snapshot, ...row }) => row),
    next: rows.length === limit ? (rows.at(-1)?.seq ?? 0) + 1 : null,
  };
}

type Path = Readonly<Record<string, string>>;

async function find(
  store: ReadStore,
  { type = '', id = '' }: Path,
  seq: number,
): Promise<HistoryRow | undefined> {
  const [row] = await store.history(type, id, { fromSeq: Math.max(1, seq), limit: 1 });
  return row?.seq === seq ? row : undefined;
}

/** @throws PerdureError `not_found` */
async function step(store: ReadStore, path: Path, seq: number): Promise<HistoryRow> {
  return (await find(store, path, seq)) ?? missing(path, seq);
}

/** @throws PerdureError `not_found` */
async function momentOf(store: ReadStore, path: Path, seq: number): Promise<Moment> {
  const { type = '', id = '' } = path;
  const rows = await store.history(type, id, { fromSeq: Math.max(1, seq - 1), limit: 3 });
  const [before, row, next] = [seq - 1, seq, seq + 1].map((at) =>
    rows.find((one) => one.seq === at),
  );
  return { before, row: row ?? missing(path, seq), next };
}

function missing({ type, id }: Path, seq: number): never {
  throw new PerdureError('not_found', `There is no transition ${seq} of ${type}/${id}.`);
}

function withSnapshot({ snapshot, ...row }: HistoryRow) {
  const envelope = JSON.parse(snapshot) as { started?: object; timers?: object; version?: string };
  const { started = {}, timers = {}, version } = envelope;
  return {
    ...row,
    version,
    context: isWrapped(snapshot) ? envelope : contextOf(snapshot),
    /** Invokes that ran then, by the transition that had started each; timers likewise. */
    started,
    timers,
  };
}

/** What a diff looks at. */
function shown(row: HistoryRow) {
  const { to_state, context, started, timers } = withSnapshot(row);
  return { state: to_state, context, started, timers };
}
