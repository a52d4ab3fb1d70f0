import type { ActorType } from '../../../src/actors/define.ts';
import {
  createClient,
  type PerdureClient,
  type PublishOptions,
  type Receipt,
} from '../../../src/client.ts';
import { asError, PerdureError } from '../../../src/errors.ts';
import type { Address } from '../../../src/store/store.ts';
import { type Place, pause, type Sql } from '../../support/cluster.ts';
import { actorTypes } from './machine.ts';
import { type JobPlan, planJob } from './plan.ts';
import { type JobInput, type Program, PURSES, programsOf } from './program.ts';

export interface LoadOptions extends Place {
  seed: number;
  /** Journal directory; nodes get it as PERDURE_TEST_DIR. */
  dir: string;
  say?: (line: string) => void;
}

/** Jobs of generated types and the events they wait for, published over a client of its own. */
export interface Load {
  /** For the checker: every actor type, and the programs they were made of. */
  readonly types: readonly ActorType[];
  readonly programs: readonly Program[];
  /** Publishes about `rate` jobs a second, with their events, until stopped. Starts the purses first. */
  start(rate: number): void;
  /**
   * Ends publishing of new jobs, sends those that have begun what they still need, and resolves with what was accepted.
   * What is not acknowledged within `patienceMs` (default 60 s) is given up and told as unknown.
   */
  stop(patienceMs?: number): Promise<Accepted>;
}

/** What the log has acknowledged. */
export interface Accepted {
  jobs: AcceptedJob[];
  events: AcceptedEvent[];
  /** Published, and nobody has said what became of it: it may have happened or not. */
  unknown: (Address & { messageId: string })[];
  /** Refused for good, which nothing here should be. */
  refused: (Address & { messageId: string; reason: string })[];
  /** Answers to publishes that waited for the commit. */
  committed: (Address & { messageId: string; seq: number | undefined })[];
}

export interface AcceptedJob extends Address {
  messageId: string;
  input: JobInput;
  /** ms since 1970. */
  ackedAt: number;
  /** Everything it needs was accepted, too: it must come to its end. */
  complete: boolean;
}

export interface AcceptedEvent extends Address {
  eventId: string;
  amount: number;
  /** Counts the events of one source to one actor, from 1; sent one after the other. */
  srcSeq: number;
  ackedAt: number;
}

/** How long one try of a publish may take, ms. */
const TRY_MS = 5_000;
/** New jobs wait while so many starts are not acknowledged. */
const STARTING_MAX = 1_000;
const TICK_MS = 10;
const PATIENCE_MS = 60_000;

export async function createLoad(options: LoadOptions): Promise<Load> {
  const programs = programsOf(options.seed);
  const publisher = new Publisher(options, programs);
  return {
    types: actorTypes(options.seed),
    programs,
    start: (rate) => publisher.start(rate),
    stop: (patienceMs = PATIENCE_MS) => publisher.stop(patienceMs),
  };
}

/** One message, as it is published again and again until somebody says what became of it. */
interface Publish extends Address {
  messageId: string;
  send(options: PublishOptions): Promise<Receipt>;
}

class Publisher {
  readonly #options: LoadOptions;
  readonly #programs: readonly Program[];
  readonly #client: PerdureClient;
  readonly #accepted: Accepted = { jobs: [], events: [], unknown: [], refused: [], committed: [] };
  /** What is under way: each job with its gifts. */
  readonly #chains = new Set<Promise<void>>();
  /** The last tally of each purse: the next one waits for it, so that there is an order to check. */
  readonly #tallies = new Map<string, { sent: number; last: Promise<unknown> }>();
  #publishing: Promise<void> | undefined;
  #starting = 0;
  #stopping = false;
  #gaveUp = false;
  #complaints = 0;

  constructor(options: LoadOptions, programs: readonly Program[]) {
    this.#options = options;
    this.#programs = programs;
    const { natsUrl, namespace } = options;
    this.#client = createClient({ natsUrl, namespace, timeoutMs: TRY_MS });
  }

  start(rate: number): void {
    this.#publishing = this.#publishAll(rate);
  }

  async stop(patienceMs: number): Promise<Accepted> {
    this.#stopping = true;
    const patience = setTimeout(() => {
      this.#gaveUp = true;
    }, patienceMs);
    await this.#publishing;
    await Promise.all(this.#chains);
    await Promise.all([...this.#tallies.values()].map(({ last }) => last));
    clearTimeout(patience);
    await this.#client.close();
    return this.#accepted;
  }

  async #publishAll(rate: number): Promise<void> {
    const purses = Array.from({ length: PURSES }, (_, n) => ({ type: 'purse', id: `p${n}` }));
    const started = await Promise.all(purses.map((address) => this.#startPurse(address)));
    if (started.includes(false)) return;
    let issued = 0;
    let owed = 0;
    let before = performance.now();
    while (!this.#stopping) {
      const now = performance.now();
      // What could not be published during an outage is not made up for in one burst.
      owed = Math.min(owed + ((now - before) / 1_000) * rate, Math.max(1, rate));
      before = now;
      for (; owed >= 1 && this.#starting < STARTING_MAX; owed--)
        this.#begin(planJob(this.#options.seed, this.#programs, issued++));
      await pause(TICK_MS);
    }
  }

  async #startPurse({ type, id }: Address): Promise<boolean> {
    const messageId = `start-${id}`;
    const send = (given: PublishOptions) => this.#client.start(type, { id, ...given });
    const ackedAt = await this.#publish({ type, id, messageId, send }, false);
    return ackedAt !== undefined;
  }

  #begin(plan: JobPlan): void {
    const chain = this.#job(plan).finally(() => this.#chains.delete(chain));
    this.#chains.add(chain);
    if (plan.tally) this.#tally(plan.tally.purse, plan.tally.amount);
  }

  async #job({ type, id, input, committed, again, gifts }: JobPlan): Promise<void> {
    const messageId = `start-${id}`;
    const send = (given: PublishOptions) => this.#client.start(type, { id, input, ...given });
    const publish = { type, id, messageId, send };
    this.#starting++;
    const ackedAt = await this.#publish(publish, committed).finally(() => this.#starting--);
    if (ackedAt === undefined) return;
    const job = { type, id, messageId, input, ackedAt, complete: gifts.length === 0 };
    this.#accepted.jobs.push(job);
    if (again) await this.#publish(publish, false);
    for (const [index, gift] of gifts.entries()) {
      for (let waited = 0; waited < gift.afterMs && !this.#stopping; waited += 50) await pause(50);
      const { amount } = gift;
      const event = { type: 'GIVE', amount, src: 'load', srcSeq: index + 1 };
      if (!(await this.#event({ type, id }, `${id}-g${index}`, event, gift))) return;
    }
    job.complete = true;
  }

  #tally(id: string, amount: number): void {
    const purse = this.#tallies.get(id) ?? { sent: 0, last: Promise.resolve() };
    this.#tallies.set(id, purse);
    const srcSeq = ++purse.sent;
    const event = { type: 'TALLY', amount, src: 'load', srcSeq };
    purse.last = purse.last.then(() =>
      this.#event({ type: 'purse', id }, `${id}-t${srcSeq}`, event, {
        committed: srcSeq % 10 === 0,
        again: srcSeq % 12 === 0,
      }),
    );
  }

  async #event(
    { type, id }: Address,
    eventId: string,
    event: { type: string; amount: number; srcSeq: number },
    { committed, again }: { committed: boolean; again: boolean },
  ): Promise<boolean> {
    const send = (given: PublishOptions) => this.#client.send(type, id, event, given);
    const publish = { type, id, messageId: eventId, send };
    const ackedAt = await this.#publish(publish, committed);
    if (ackedAt === undefined) return false;
    const { amount, srcSeq } = event;
    this.#accepted.events.push({ type, id, eventId, amount, srcSeq, ackedAt });
    if (again) await this.#publish(publish, false);
    return true;
  }

  /** Until it is acknowledged; then the time of that, else undefined. */
  async #publish(
    { type, id, messageId, send }: Publish,
    wait: boolean,
  ): Promise<number | undefined> {
    for (let tries = 0; !this.#gaveUp; tries++) {
      // Only the first try waits for the commit: the next ones ask about a message that may have been applied.
      const until = wait && tries === 0 ? 'committed' : 'accepted';
      try {
        const { seq } = await send({ messageId, until, timeoutMs: TRY_MS });
        if (until === 'committed') this.#accepted.committed.push({ type, id, messageId, seq });
        return Date.now();
      } catch (thrown) {
        const error = asError(thrown);
        if (error instanceof PerdureError && !error.retryable) {
          this.#accepted.refused.push({
            type,
            id,
            messageId,
            reason: `${error.code}: ${error.message}`,
          });
          return undefined;
        }
        if (this.#complaints++ % 100 === 0)
          this.#options.say?.(`load: ${messageId} again: ${error.message}`);
        await pause(Math.min(100 * 2 ** tries, 1_000));
      }
    }
    this.#accepted.unknown.push({ type, id, messageId });
    return undefined;
  }
}

/** True when everything accepted has come to its end: jobs finished, outbox empty, nothing busy. */
export async function atRest(
  sql: Sql,
  accepted: Accepted,
): Promise<{ done: boolean; finished: number; expected: number; busy: number; outbox: number }> {
  const jobs = new Map(accepted.jobs.map(({ id, complete }) => [id, complete]));
  const tallies = accepted.events.filter(({ type }) => type === 'purse').length;
  const ended = await sql.query<{ id: string }>(
    `SELECT id FROM actor WHERE type <> 'purse' AND status <> 'active'`,
  );
  const [row] = await sql.query<{ busy: number; outbox: number; tallied: number }>(
    `SELECT (SELECT count(*) FROM actor WHERE busy OR acted_seq <> seq)::int AS busy,
            (SELECT count(*) FROM outbox)::int AS outbox,
            (SELECT coalesce(sum((snapshot::json #>> '{snapshot,context,tallies}')::int), 0)
               FROM current_actor JOIN transition USING (type, id, seq) WHERE type = 'purse')::int AS tallied`,
  );
  const { busy = 0, outbox = 0, tallied = 0 } = row ?? {};
  const finished = ended.filter(({ id }) => jobs.get(id)).length;
  const expected = accepted.jobs.filter(({ complete }) => complete).length;
  const done = finished >= expected && tallied >= tallies && busy === 0 && outbox === 0;
  return { done, finished, expected, busy, outbox };
}
