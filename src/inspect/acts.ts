import { activeStates, isLegal, legalEvents, machineAt } from '../actors/chart.ts';
import { COMMANDS, eventProblem } from '../actors/intake.ts';
import { rootOf } from '../actors/kin.ts';
import { CANCEL, PAUSE, RELEASE, RESUME } from '../actors/step.ts';
import type { Receipt } from '../client.ts';
import { asError, PerdureError } from '../errors.ts';
import type { ActorSummary, ReadStore } from '../store/read.ts';
import type { ActorSearch, Found } from '../store/search.ts';
import { type Address, addressKey } from '../store/store.ts';
import { viewActor } from './actorView.ts';
import type { Charts } from './charts.ts';
import type { Engine } from './engine.ts';
import { reachOf } from './filter.ts';
import { HttpError } from './httpError.ts';

type Event = { type: string; [key: string]: unknown };

/** What actors are told besides events of their own. */
const COMMAND = { cancel: CANCEL, pause: PAUSE, resume: RESUME, release: RELEASE } as const;
export type Telling = keyof typeof COMMAND;

/** What is done to an actor. */
export type Act = { do: 'send'; event: Event } | { do: Telling };

/** What became of a bulk operation. */
export interface BulkResult {
  /** Actors that matched and were looked at. */
  matched: number;
  /** Asked: it is in the log. */
  accepted: number;
  /** They do not handle the event as they stand, or have ended. */
  refused: number;
  failed: number;
  /** The first few that failed or were refused, and why. */
  problems: { type: string; id: string; code: string; message: string }[];
}

/** Actors one bulk operation acts on, at most. */
export const BULK_MAX = 10_000;
const PAGE = 500;
const AT_ONCE = 64;
const PROBLEMS_MAX = 20;
const SAMPLE = 10;
/** Rows say that actors are paused, or go on, within this, ms. */
const TOLD_MS = 5_000;

/** Acts on actors, after looking whether they would hear of it. */
export class Acts {
  readonly #store: ReadStore;
  readonly #charts: Charts;
  readonly #engine: Engine;
  /** By `type/id`, oldest first: who was told to pause, or to go on, by a bulk operation a moment ago. Nobody waits for their rows. */
  readonly #told = new Map<string, { paused: boolean; until: number }>();

  constructor(store: ReadStore, charts: Charts, engine: Engine) {
    this.#store = store;
    this.#charts = charts;
    this.#engine = engine;
  }

  /**
   * An event for one actor, once it is known to handle it. The actor may have moved on by the time the event reaches
   * it; then XState drops it, as it does any. Of one that is paused nobody waits for more than that the event is in the log.
   * @throws HttpError 409 with what is allowed; PerdureError as `PerdureClient.send`
   */
  async send(
    type: string,
    id: string,
    given: unknown,
    options: { until: 'accepted' | 'committed'; messageId?: string },
  ): Promise<Receipt> {
    const event = eventIn(given);
    const actor = await viewActor(this.#store, this.#charts, type, id);
    if (!actor) throw new PerdureError('not_found', `There is no ${type}/${id}.`);
    // A machine of a family has ended for its family; nobody outside reaches it before or after.
    if (actor.parent === null && actor.status !== 'active') throw finished(actor);
    if (actor.deaf !== null) throw new HttpError(409, 'actor_deaf', actor.deaf, []);
    if (actor.events && !isLegal(actor.events, event.type)) {
      const allowed = actor.events.map((one) => one.type);
      throw new HttpError(
        409,
        'event_not_handled',
        `${type}/${id} does not handle ${event.type} as it stands; it handles ${allowed.join(', ') || 'nothing'}.`,
        allowed,
      );
    }
    return this.#engine.send(type, id, event, {
      ...options,
      ...(actor.paused_at !== null && { until: 'accepted' }),
    });
  }

  /** Ends an actor, pauses or resumes it, or takes it out of quarantine. @throws HttpError 409; PerdureError as `PerdureClient.send` */
  async tell(type: string, id: string, act: Telling): Promise<Receipt> {
    const actor = await this.#store.actor(type, id);
    if (!actor) throw new PerdureError('not_found', `There is no ${type}/${id}.`);
    if (id.includes('.') && (act === 'pause' || act === 'resume'))
      throw new PerdureError(
        'not_a_root',
        `${type}/${id} is part of a family; ${act} ${rootOf({ type, id }).id}, and all of it is.`,
      );
    if (id.includes('.'))
      throw new HttpError(409, 'actor_deaf', 'A machine of a family ends with its root.', []);
    if (act !== 'release' && actor.status !== 'active') throw finished(actor);
    if (act === 'release' && actor.quarantined_at === null)
      throw new HttpError(409, 'not_quarantined', `${type}/${id} is not in quarantine.`, []);
    if (act === 'pause' && actor.quarantined_at !== null)
      throw new PerdureError('actor_quarantined', `${type}/${id} is in quarantine: nothing runs.`);
    const refused = pauseProblem(this.#isPaused(actor), act);
    if (refused) throw new PerdureError(refused.code, `${type}/${id} ${refused.why}.`);
    this.#told.delete(addressKey({ type, id }));
    return this.#engine.send(type, id, { type: COMMAND[act] }, { until: 'committed' });
  }

  /** What a bulk operation would act on. */
  async preview(search: ActorSearch, after: Address | undefined) {
    const page = { limit: BULK_MAX + 1, after };
    const { actors, ...reach } = await this.#store.searchActors(search, page);
    const count = Math.min(actors.length, BULK_MAX);
    const more = actors.length > BULK_MAX;
    return { count, more, sample: actors.slice(0, SAMPLE), ...reachOf(reach) };
  }

  /** However long it takes; stops when there are more than a bulk operation acts on. */
  async #countAll(search: ActorSearch): Promise<number> {
    let count = 0;
    let after: Address | null | undefined;
    do {
      const page = { limit: BULK_MAX + 1 - count, ...(after && { after }) };
      const counted = await this.#store.countActors(search, page);
      count += counted.count;
      after = counted.next;
    } while (after && count <= BULK_MAX);
    return count;
  }

  /**
   * Acts on all actors that match, as long as they are as many as was said: whoever asks has seen them counted.
   * @throws HttpError 409 `count_changed`
   */
  async bulk(search: ActorSearch, act: Act, count: number): Promise<BulkResult> {
    const now = await this.#countAll(search);
    if (now !== count)
      throw new HttpError(
        409,
        'count_changed',
        now > BULK_MAX
          ? `More than ${BULK_MAX} actors match; narrow the filter.`
          : `${now} actors match now, not ${count}; look again.`,
        [now],
      );
    for (const [key, { until }] of this.#told)
      if (until < performance.now()) this.#told.delete(key);
    const result: BulkResult = { matched: 0, accepted: 0, refused: 0, failed: 0, problems: [] };
    let after: Address | null | undefined;
    while (result.matched < count && after !== null) {
      const page = { limit: Math.min(PAGE, count - result.matched), after };
      const { actors, next }: Found = await this.#store.searchActors(search, page);
      after = next;
      result.matched += actors.length;
      await this.#each(actors, act, result);
    }
    return result;
  }

  async #each(rows: ActorSummary[], act: Act, result: BulkResult): Promise<void> {
    const queue = rows.values();
    const work = async () => {
      for (const row of queue) await this.#one(row, act, result);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  async #one(row: ActorSummary, act: Act, result: BulkResult): Promise<void> {
    const { type, id } = row;
    const note = (code: string, message: string) => {
      if (result.problems.length < PROBLEMS_MAX) result.problems.push({ type, id, code, message });
    };
    const refused = row.status === 'active' ? await this.#refusal(row, act) : 'it has ended';
    if (refused !== undefined) {
      result.refused++;
      return note(row.status === 'active' ? 'event_not_handled' : 'actor_finished', refused);
    }
    const problem = pauseProblem(this.#isPaused(row), act.do);
    if (problem) {
      result.refused++;
      return note(problem.code, `it ${problem.why}`);
    }
    const event = act.do === 'send' ? act.event : { type: COMMAND[act.do] };
    try {
      await this.#engine.send(type, id, event, { until: 'accepted' });
      result.accepted++;
      if (act.do === 'pause' || act.do === 'resume')
        this.#told.set(addressKey(row), {
          paused: act.do === 'pause',
          until: performance.now() + TOLD_MS,
        });
    } catch (thrown) {
      result.failed++;
      note(thrown instanceof PerdureError ? thrown.code : 'unexpected', asError(thrown).message);
    }
  }

  #isPaused(row: ActorSummary): boolean {
    const told = this.#told.get(addressKey(row));
    return told && told.until >= performance.now() ? told.paused : row.paused_at !== null;
  }

  async #refusal(row: ActorSummary, act: Act): Promise<string | undefined> {
    if (act.do !== 'send') return undefined;
    const chart = await this.#charts.find(row.type, row.version);
    const machine = chart && machineAt(chart);
    if (!machine) return undefined;
    const events = legalEvents(activeStates(machine.root, row.state));
    return isLegal(events, act.event.type)
      ? undefined
      : `it does not handle ${act.event.type} as it stands`;
  }
}

const finished = ({ type, id, status }: Pick<ActorSummary, 'type' | 'id' | 'status'>) =>
  new PerdureError('actor_finished', `${type}/${id} has ended: ${status}.`);

/** Why pausing or resuming would change nothing. */
function pauseProblem(
  isPaused: boolean,
  act: Act['do'],
): { code: 'already_paused' | 'not_paused'; why: string } | undefined {
  if (act === 'pause' && isPaused) return { code: 'already_paused', why: 'is paused already' };
  if (act === 'resume' && !isPaused) return { code: 'not_paused', why: 'is not paused' };
  return undefined;
}

/** @throws PerdureError `bad_event` */
export function eventIn(given: unknown): Event {
  const problem = eventProblem(given);
  if (problem) throw new PerdureError('bad_event', problem);
  const event = given as Event;
  if (COMMANDS.includes(event.type))
    throw new PerdureError(
      'bad_event',
      `For ${event.type} there is a button, and a route, of its own.`,
    );
  return event;
}
