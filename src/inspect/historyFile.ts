import { createHash } from 'node:crypto';
import { PerdureError } from '../errors.ts';
import type { ActorDetail, HistoryRow, ReadStore } from '../store/read.ts';
import { isWrapped } from '../textCodec.ts';
import { VERSION } from '../version.ts';

/**
 * The history of an actor as a file: JSON Lines, of which the first says what it is and the last that it is whole. Its form
 * is in docs/history-file.md.
 */
export const FORMAT = 1;

export interface Head {
  kind: 'perdure.history';
  format: typeof FORMAT;
  /** Version of Perdure that wrote it. */
  perdure: string;
  exported_at: string;
  type: string;
  id: string;
  /** Left out: nothing was hidden. */
  redacted?: true;
}

/** A machine as the nodes that ran it have recorded it; stands before the first transition of its version. */
export interface MachineLine {
  kind: 'machine';
  type: string;
  version: string;
  /** SHA-256 of the definition, hexadecimal. */
  fingerprint: string;
  recorded_at: string;
  definition: unknown;
}

/** An actor as its row stood when the export came to it; its transitions follow. */
export interface ActorLine {
  kind: 'actor';
  type: string;
  id: string;
  version: string;
  status: string;
  state: unknown;
  seq: number;
  output: unknown;
  error: unknown;
  created_at: string;
  updated_at: string;
  /** Invokes that were to be tried again, by id: attempts, the last error, results of steps. */
  retries: unknown;
  timers: ActorDetail['timers'];
}

/** The snapshot is the envelope as it is recorded, as JSON. */
export type TransitionLine = { kind: 'transition' } & Omit<
  HistoryRow,
  'snapshot' | 'failed_attempts'
> & {
    snapshot: unknown;
    /** Left out by earlier releases. */
    failed_attempts?: HistoryRow['failed_attempts'];
  };

/** Without it the file is not whole. */
export interface EndLine {
  kind: 'end';
  actors: number;
  transitions: number;
}

export type HistoryLine = Head | MachineLine | ActorLine | TransitionLine | EndLine;

/** Transitions that are in memory at once. */
const PAGE = 200;
/** Machines of a family in one file, at most. */
const FAMILY_MAX = 9_999;

export interface ExportOptions {
  /** Nothing of the machines below it. */
  alone?: boolean;
  redacted?: boolean;
}

/**
 * Lines of an actor and of the machines below it, each up to where it stood when its turn came; read in pages.
 * @throws PerdureError `not_found`; `bad_options` for a family that is too large for one file
 */
export async function* historyLines(
  store: ReadStore,
  type: string,
  id: string,
  { alone, redacted }: ExportOptions = {},
): AsyncGenerator<HistoryLine> {
  const ids = [id, ...(alone || id.includes('.') ? [] : await machinesOf(store, type, id))];
  const total = { actors: 0, transitions: 0 };
  const told = new Set<string>();
  for (const one of ids) {
    const actor = await store.actor(type, one);
    if (!actor) throw new PerdureError('not_found', `There is no ${type}/${one}.`);
    if (total.actors++ === 0) yield headOf(type, id, redacted);
    yield actorLine(actor);
    for (let from = 1; from <= actor.seq; from += PAGE) {
      const limit = Math.min(PAGE, actor.seq - from + 1);
      for (const row of await store.history(type, one, { fromSeq: from, limit })) {
        const line = transitionLine(row);
        const version = versionOf(row.snapshot) ?? actor.version;
        if (!told.has(version)) yield* machineLines(store, type, version);
        told.add(version);
        total.transitions++;
        yield line;
      }
    }
  }
  yield { kind: 'end', ...total };
}

const headOf = (type: string, id: string, redacted: boolean | undefined): Head => ({
  kind: 'perdure.history',
  format: FORMAT,
  perdure: VERSION,
  exported_at: new Date().toISOString(),
  type,
  id,
  ...(redacted ? { redacted } : {}),
});

/** Ids of all machines below an actor, those that have ended included. */
async function machinesOf(store: ReadStore, type: string, id: string): Promise<string[]> {
  const found = await store.listActors({ type, children: { of: id }, limit: FAMILY_MAX + 1 });
  if (found.length <= FAMILY_MAX) return found.map((row) => row.id).sort();
  throw new PerdureError(
    'bad_options',
    `More than ${FAMILY_MAX} machines are below ${type}/${id}: export it with --alone, and of them those you need by their own ids.`,
  );
}

function actorLine(actor: ActorDetail): ActorLine {
  const { type, id, version, status, state, seq, output, error, created_at, updated_at } = actor;
  const row = { type, id, version, status, state, seq, output, error, created_at, updated_at };
  return { kind: 'actor', ...row, retries: actor.retries, timers: actor.timers };
}

const transitionLine = ({ snapshot, ...row }: HistoryRow): TransitionLine => ({
  kind: 'transition',
  ...row,
  snapshot: JSON.parse(snapshot),
});

/** Undefined while a codec keeps it shut. */
const versionOf = (snapshot: string): string | undefined =>
  isWrapped(snapshot) ? undefined : (JSON.parse(snapshot) as { version?: string }).version;

async function* machineLines(
  store: ReadStore,
  type: string,
  version: string,
): AsyncGenerator<MachineLine> {
  const row = await store.machine(type, version);
  if (!row) return;
  const { definition, recorded_at } = row;
  yield {
    kind: 'machine',
    type,
    version,
    fingerprint: fingerprint(definition),
    recorded_at,
    definition: JSON.parse(definition),
  };
}

/** Of a machine's definition as it is recorded (`actors/chart`). */
export const fingerprint = (definition: string): string =>
  createHash('sha256').update(definition).digest('hex');
