import { activeStates, type LegalEvent, legalEvents, machineAt } from '../actors/chart.ts';
import { parentOf, rootOf } from '../actors/kin.ts';
import type { ActorDetail, ActorSummary, FailedAttemptRow, ReadStore } from '../store/read.ts';
import type { Charts } from './charts.ts';
import { startedIn } from './effectsThen.ts';

/** Machines of a family that are listed, at most. */
const FAMILY_MAX = 500;

/** What runs for an actor. */
export interface InvokeView {
  id: string;
  /** The transition that started it. */
  started_seq: number;
  attempt: number;
  /** When the next attempt is due, after one that failed. */
  next_at?: string;
  error?: { name: string; message: string };
  /** Those that have failed, the first one first; left out where none has. */
  failed_attempts?: FailedAttemptRow[];
  /** Names of the steps that are done. */
  steps?: string[];
}

export interface ActorView extends Omit<ActorDetail, 'snapshot' | 'retries'> {
  /** Which machine of its type it is: one `src` for each level below the root. */
  path: string[];
  invokes: InvokeView[];
  parent: { id: string; child_id: string } | null;
  /** The family's machines below it. */
  children: Pick<ActorSummary, 'id' | 'status' | 'state' | 'seq' | 'updated_at'>[];
  /** What it handles as it stands; null: its machine is not recorded. */
  events: LegalEvent[] | null;
  /** Why no event can be sent to it; null: one can. */
  deaf: string | null;
}

/** An actor with what its row, its snapshot and its machine say together; undefined when there is none. */
export async function viewActor(
  store: ReadStore,
  charts: Charts,
  type: string,
  id: string,
): Promise<ActorView | undefined> {
  const found = await store.actor(type, id);
  if (!found) return undefined;
  const { snapshot, retries, ...rest } = found;
  const [path, chart, kin] = await Promise.all([
    store.pathOf(type, id),
    charts.find(type, found.version),
    store.searchActors({ type, children: { of: id } }, { limit: FAMILY_MAX }),
  ]);
  const machine = chart && machineAt(chart, path);
  // The page asks for it as soon as it has this answer.
  if (machine) void charts.expect(type, found.version, path);
  const parent = parentOf({ type, id });
  return {
    ...rest,
    path,
    invokes: await Promise.all(
      invokesIn(snapshot, retries).map((one) => withFailed(store, type, id, one)),
    ),
    parent: parent ? { id: parent.parent.id, child_id: parent.childId } : null,
    children: kin.actors.map(({ id: kinId, status, state, seq, updated_at }) => ({
      id: kinId,
      status,
      state,
      seq,
      updated_at,
    })),
    events: machine ? legalEvents(activeStates(machine.root, found.state)) : null,
    deaf: whyDeaf(found),
  };
}

function whyDeaf({ type, id, status, quarantined_at }: ActorDetail): string | null {
  const root = rootOf({ type, id });
  if (root.id !== id)
    return `Only its family reaches it; what comes from outside goes to ${root.id}.`;
  if (status !== 'active') return `It has ended: ${status}.`;
  return quarantined_at === null ? null : 'It is in quarantine; release it first.';
}

async function withFailed(
  store: ReadStore,
  type: string,
  id: string,
  invoke: InvokeView,
): Promise<InvokeView> {
  if (invoke.attempt === 1) return invoke;
  const [start] = await store.history(type, id, { fromSeq: invoke.started_seq, limit: 1 });
  const failed = start?.failed_attempts.filter((one) => one.invoke_id === invoke.id) ?? [];
  return failed.length === 0 ? invoke : { ...invoke, failed_attempts: failed };
}

interface Retry {
  attempt: number;
  /** On the database clock, ms since 1970. */
  nextAt: number;
  error?: { name: string; message: string };
  steps?: Record<string, unknown>;
}

function invokesIn(snapshot: string, retries: unknown): InvokeView[] {
  const waiting = (retries ?? {}) as Record<string, Retry>;
  return Object.entries(startedIn(snapshot)).map(([id, seq]) => {
    const retry = Object.hasOwn(waiting, id) ? waiting[id] : undefined;
    return {
      id,
      started_seq: seq,
      attempt: retry?.attempt ?? 1,
      ...(retry?.error && {
        next_at: new Date(retry.nextAt).toISOString(),
        error: { name: retry.error.name, message: retry.error.message },
      }),
      ...(retry?.steps && { steps: Object.keys(retry.steps) }),
    };
  });
}
