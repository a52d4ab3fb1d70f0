import { Client } from 'pg';
import { ABANDON, abandonStep } from '../../src/actors/abandon.ts';
import { questionOf } from '../../src/actors/asks.ts';
import type { Child } from '../../src/actors/children.ts';
import { parse } from '../../src/actors/codec.ts';
import type { ActorType } from '../../src/actors/define.ts';
import { idempotencyKey, isAct } from '../../src/actors/effects.ts';
import type { Envelope } from '../../src/actors/envelope.ts';
import { childRow, isChildRow, parentOf, rootOf } from '../../src/actors/kin.ts';
import { typeAt } from '../../src/actors/kinRows.ts';
import { migrateStep } from '../../src/actors/migrate.ts';
import { isMigration, stepAgain } from '../../src/actors/replay.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { firstStep, type Live, nextStep, SEND, type Step } from '../../src/actors/step.ts';
import { OUTBOX_HEADER, shardOf } from '../../src/bus/subjects.ts';
import { LIMITS, namespace, SHARDS } from '../../src/config.ts';
import { ERRORS } from '../../src/errors.ts';
import { type Address, addressKey, type StoredTransition } from '../../src/store/store.ts';

/**
 * Judges what a namespace has recorded. The numbers are those of the invariants every fault test relies on:
 *
 *  no loss · no duplicate · dense log · no fork (replay) · epochs ascend · one writer for each epoch · no invention ·
 *  effects after commit, at least once, one input for each key · timers never early, once · nothing left over.
 */
export interface HistoryOptions {
  databaseUrl: string;
  namespace: string;
  /** Every version that wrote one of the snapshots. */
  types: readonly ActorType[];
  /** Everything has come to rest: nothing may be under way. Default false. */
  quiescent?: boolean;
  /** What was accepted from outside: each must be in the history, or in a dead letter. */
  expected?: Expected;
  /** What the actors themselves wrote down when they ran. */
  journal?: JournalLine[];
  /** Runs an action again and returns the lines it would have written to the journal. */
  capture?: (run: () => unknown) => object[];
  /** What was read from the stream of outcomes. */
  outcomes?: OutcomeMessage[];
  /** Which actors (`type/id`) are also folded from the start: half of what judging costs. Default: all. */
  folds?: (actor: string) => boolean;
}

export interface Expected {
  jobs?: Address[];
  events?: (Address & { eventId: string })[];
}

/** One line of an invoke or an action. Actions may write any fields. */
export type JournalLine =
  | {
      kind: 'invoke';
      key: string;
      phase: 'start' | 'end' | 'abort';
      attempt: number;
      input: unknown;
      /** Wall time, ms since 1970. */
      at: number;
      /** Whether the transition that started it could be seen in Postgres when it began to run. */
      committed?: boolean;
      /** What an attempt that ended gave back. */
      result?: unknown;
      pid?: number;
      /** Name of the node, when it has one. */
      node?: string;
    }
  | { kind: 'action'; at: number; pid?: number; [field: string]: unknown };

export interface OutcomeMessage extends Address {
  seq: number;
  status: string;
}

/** Everything of a namespace, read in one database snapshot. */
export interface History {
  actors: ActorRow[];
  transitions: StoredTransition[];
  timers: { type: string; id: string; timerId: string; armedSeq: number; fireAt: number }[];
  outbox: { messageId: string; kind: string }[];
  /** Each shard's epoch and when it began. */
  shards: { shard: number; epoch: number; openedAt: number }[];
  deadLetters: {
    subject: string;
    reason: string;
    messageId: string | null;
    headers: Record<string, string>;
  }[];
}

interface ActorRow extends Address {
  version: string;
  status: string;
  state: string;
  seq: number;
  epoch: number;
  shard: number;
  busy: boolean;
  actedSeq: number;
  snapshot: string;
}

export interface HistoryReport {
  /** One sentence each; empty when all is well. */
  violations: string[];
  actors: number;
  transitions: number;
  finished: number;
  /** Distinct idempotency keys that ran, and how often anything ran. */
  keys: number;
  runs: number;
  epochsMax: number;
  nodes: number;
  /** Every firing whose delay is known; times in ms on the database's clock. */
  fired: { actor: string; seq: number; dueAt: number; at: number }[];
}

/** Reads and judges. */
export async function checkHistory(options: HistoryOptions): Promise<HistoryReport> {
  return judgeHistory(await readHistory(options), options);
}

export async function readHistory(
  place: Pick<HistoryOptions, 'databaseUrl' | 'namespace'>,
): Promise<History> {
  const client = new Client({ connectionString: place.databaseUrl });
  await client.connect();
  const rows = async <R>(sql: string) => (await client.query(sql)).rows as R[];
  const ms = (column: string) => `(extract(epoch FROM ${column}) * 1000)::float8`;
  try {
    await client.query(`SET search_path = ${namespace(place.namespace).schema}, pg_temp`);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    return {
      actors: await rows(
        `SELECT a.type, a.id, version, status, state, a.seq::int, a.epoch::int, shard, busy, acted_seq::int AS "actedSeq",
                coalesce(snapshot, '{}') AS snapshot
           FROM current_actor a LEFT JOIN transition t USING (type, id, seq) ORDER BY a.type, a.id`,
      ),
      transitions: await rows(
        `SELECT type, id, seq::int, event_type AS "eventType", event, event_id AS "eventId", origin,
                from_state AS "fromState", to_state AS "toState", edges, actions, snapshot, epoch::int,
                node_id AS "nodeId", ${ms('at')} AS at FROM transition ORDER BY type, id, seq`,
      ),
      timers: await rows(
        `SELECT type, id, timer_id AS "timerId", armed_seq::int AS "armedSeq", ${ms('fire_at')} AS "fireAt" FROM timer`,
      ),
      outbox: await rows(`SELECT message_id AS "messageId", kind FROM outbox`),
      shards: await rows(
        `SELECT shard, epoch::int, ${ms('opened_at')} AS "openedAt" FROM shard WHERE opened_at IS NOT NULL`,
      ),
      deadLetters: await rows(
        `SELECT subject, reason, message_id AS "messageId", headers::json AS headers FROM dead_letter`,
      ),
    };
  } finally {
    await client.end();
  }
}

/** Pure. */
export function judgeHistory(
  history: History,
  options: Omit<HistoryOptions, 'databaseUrl' | 'namespace'>,
): HistoryReport {
  const judge = new Judge(history, options);
  judge.run();
  return judge.report();
}

const SHOWN_MAX = 40;
const CLAIM_WAIT_MS = 1_000;

class Judge {
  readonly #history: History;
  readonly #options: Omit<HistoryOptions, 'databaseUrl' | 'namespace'>;
  readonly #violations: string[] = [];
  readonly #logs = new Map<string, StoredTransition[]>();
  readonly #rows = new Map<string, ActorRow>();
  /** Messages committed transitions sent, by id. */
  readonly #sent = new Map<string, { to: string; body: string }>();
  /** Invokes committed transitions started, by idempotency key. */
  readonly #invokes = new Map<string, { at: number; settled: boolean; asks: boolean }>();
  /** Delay of each arming, ms. */
  readonly #delays = new Map<string, number>();
  readonly #fired: HistoryReport['fired'] = [];
  /** Journal lines the actions of committed transitions owe. */
  readonly #owed: string[] = [];
  #hidden = 0;

  constructor(history: History, options: Omit<HistoryOptions, 'databaseUrl' | 'namespace'>) {
    this.#history = history;
    this.#options = options;
    for (const row of history.actors) this.#rows.set(addressKey(row), row);
    for (const transition of history.transitions) {
      const key = addressKey(transition);
      const log = this.#logs.get(key);
      if (log) log.push(transition);
      else this.#logs.set(key, [transition]);
    }
  }

  run(): void {
    for (const key of new Set([...this.#rows.keys(), ...this.#logs.keys()])) this.#checkActor(key);
    this.#checkWriters();
    this.#checkMessages();
    this.#checkFamilies();
    this.#checkTimers();
    this.#checkExpected();
    this.#checkJournal();
    if (this.#options.quiescent) this.#checkRest();
  }

  report(): HistoryReport {
    const { transitions, actors } = this.#history;
    const invokes = (this.#options.journal ?? []).filter((line) => line.kind === 'invoke');
    const violations = [...this.#violations];
    if (this.#hidden > 0) violations.push(`… and ${this.#hidden} more`);
    return {
      violations,
      actors: actors.length,
      transitions: transitions.length,
      finished: actors.filter(({ status }) => status !== 'active').length,
      keys: new Set(invokes.map((line) => line.key)).size,
      runs: invokes.filter((line) => line.phase === 'start').length,
      epochsMax: transitions.reduce((most, { epoch }) => Math.max(most, epoch), 0),
      nodes: new Set(transitions.map(({ nodeId }) => nodeId)).size,
      fired: this.#fired,
    };
  }

  #violation(text: string): void {
    if (this.#violations.length < SHOWN_MAX) this.#violations.push(text);
    else this.#hidden++;
  }

  #checkActor(key: string): void {
    const row = this.#rows.get(key);
    const log = this.#logs.get(key) ?? [];
    if (!row) return this.#violation(`${key}: has transitions and no row`);
    const ids = new Set<string>();
    log.forEach((transition, index) => {
      const name = `${key}#${transition.seq}`;
      const previous = log[index - 1];
      if (transition.seq !== index + 1)
        this.#violation(`${name}: the log is not dense, this is line ${index + 1}`);
      if (transition.eventId !== null) {
        if (ids.has(transition.eventId))
          this.#violation(`${name}: event ${transition.eventId} was applied before`);
        ids.add(transition.eventId);
      }
      if (previous && previous.epoch > transition.epoch)
        this.#violation(`${name}: epoch ${transition.epoch} after ${previous.epoch}`);
      if (previous && previous.at > transition.at)
        this.#violation(`${name}: committed before the transition before it`);
      if (previous && previous.toState !== transition.fromState)
        this.#violation(`${name}: starts in ${transition.fromState}, not in ${previous.toState}`);
    });
    const last = log.at(-1);
    if (row.seq !== log.length)
      this.#violation(`${key}: the row stands at ${row.seq}, the log has ${log.length}`);
    if (last && row.state !== last.toState)
      this.#violation(`${key}: the row's state ${row.state} is not ${last.toState}`);
    if (row.shard !== shardOfRow(row))
      this.#violation(`${key}: is in shard ${row.shard}, the subject says another`);
    if (log.every((transition, index) => transition.seq === index + 1)) this.#replay(key, row, log);
  }

  /** Each transition from the snapshot stored before it, and the whole log folded from the start. */
  #replay(key: string, row: ActorRow, log: StoredTransition[]): void {
    const { types } = this.#options;
    const address = { type: row.type, id: row.id };
    const scope = createStepScope(address);
    const folding = createStepScope(address);
    const folds = this.#options.folds?.(key) ?? true;
    let folded: Live | undefined;
    for (const [index, transition] of log.entries()) {
      const name = `${key}#${transition.seq}`;
      const envelope = JSON.parse(transition.snapshot) as Envelope;
      const root = types.find(
        (known) => known.name === transition.type && known.version === envelope.version,
      );
      const type = root && typeAt(root, envelope.path ?? []);
      if (!type) return this.#violation(`${name}: no type ${transition.type}@${envelope.version}`);
      const previous = log[index - 1];
      try {
        const step = stepAgain(type, scope, transition, previous?.snapshot, LIMITS);
        this.#compare(name, 'replayed from the snapshot before it', transition, step);
        this.#collect(key, transition, step, previous);
        if (!folds) continue;
        const event = parse(transition.event) as { input?: unknown };
        const again: Step =
          folded === undefined
            ? firstStep(type, address, folding, event.input, LIMITS, envelope.path)
            : stepOn(type, address, folding, folded, transition);
        this.#compare(name, 'folded from the start', transition, again);
        folded = again.live;
      } catch (error) {
        return this.#violation(`${name}: replay threw ${String(error)}`);
      }
    }
    const status = (JSON.parse(row.snapshot) as Envelope).snapshot.status;
    if (status !== row.status)
      this.#violation(`${key}: the row says ${row.status}, its snapshot ${status}`);
  }

  #compare(name: string, how: string, stored: StoredTransition, step: Step): void {
    if (step.envelope !== stored.snapshot)
      this.#violation(
        `${name}: ${how}, the snapshot differs: ${difference(stored.snapshot, step.envelope)}`,
      );
    if (step.state !== stored.toState)
      this.#violation(`${name}: ${how}, it ends in ${step.state}, not in ${stored.toState}`);
    if (step.edges !== stored.edges) this.#violation(`${name}: ${how}, its edges differ`);
    const actions = step.effects.filter(isAct).length;
    if (actions !== stored.actions)
      this.#violation(`${name}: ${how}, it has ${actions} actions, not ${stored.actions}`);
  }

  /** What the transition has caused, for the checks that look at all actors together. */
  #collect(
    key: string,
    transition: StoredTransition,
    step: Step,
    previous: StoredTransition | undefined,
  ): void {
    const { seq } = transition;
    // Answers are results of invokes, and as such in the history.
    for (const { index, to, body } of step.messages)
      if (!to.invoke) this.#sent.set(`${key}/${seq}/${index}`, { to: addressKey(to), body });
    if (transition.origin === 'timer' && transition.eventType === SEND) {
      const { to, event } = JSON.parse(transition.event) as { to?: Address; event: unknown };
      const body = JSON.stringify(event);
      if (to) this.#sent.set(`${key}/${seq}/timer`, { to: addressKey(to), body });
    }
    for (const { timerId, delayMs } of step.timersArmed)
      this.#delays.set(`${key}/${seq}/${timerId}`, delayMs);
    for (const effect of step.effects) {
      if (effect.kind === 'invoke') {
        const { logic } = effect.child as Child;
        const { input } = (effect.child as Child).getSnapshot();
        // Asking is no work of a process: nothing of it is in the journal.
        const asks = questionOf(logic, input, transition, { id: '', seq: 0 }) !== undefined;
        const invoke = { at: transition.at, settled: false, asks };
        this.#invokes.set(idempotencyKey(transition, effect.invokeId, effect.seq), invoke);
      }
      if (effect.kind === 'action' && this.#options.capture)
        for (const line of this.#options.capture(effect.run)) this.#owed.push(canonical(line));
    }
    if (transition.origin === 'invoke') this.#checkSettled(key, transition, previous);
    if (transition.origin === 'timer') this.#checkFired(key, transition);
  }

  #checkSettled(
    key: string,
    transition: StoredTransition,
    previous: StoredTransition | undefined,
  ): void {
    const { actorId } = JSON.parse(transition.event) as { actorId: string };
    const started = previous && (JSON.parse(previous.snapshot) as Envelope).started[actorId];
    const name = `${key}#${transition.seq}`;
    if (started === undefined)
      return this.#violation(`${name}: a result of ${actorId}, which was not running`);
    const invoke = this.#invokes.get(idempotencyKey(transition, actorId, started));
    if (!invoke) this.#violation(`${name}: a result of ${actorId}, which nobody started`);
    else invoke.settled = true;
  }

  #checkFired(key: string, transition: StoredTransition): void {
    const name = `${key}#${transition.seq}`;
    const [, armedSeq = '', ...rest] = (transition.eventId ?? '').split(':');
    const armedAt = this.#logs.get(key)?.[Number(armedSeq) - 1];
    const timerId = rest.join(':');
    if (!armedAt || armedAt.seq >= transition.seq)
      return this.#violation(`${name}: a timer fired that nothing armed: ${transition.eventId}`);
    const before = this.#logs.get(key)?.[transition.seq - 2];
    const armed = before && (JSON.parse(before.snapshot) as Envelope).timers[timerId];
    if (armed !== Number(armedSeq))
      this.#violation(`${name}: timer ${timerId} fired, which was not armed any more`);
    const delayMs = this.#delays.get(`${key}/${armedSeq}/${timerId}`);
    if (delayMs === undefined) return;
    // fire_at is the arming's commit time plus the delay; the firing's commit must be later (G6).
    const dueAt = armedAt.at + delayMs;
    if (transition.at < dueAt)
      this.#violation(`${name}: timer ${timerId} fired ${dueAt - transition.at} ms early`);
    this.#fired.push({ actor: key, seq: transition.seq, dueAt, at: transition.at });
  }

  #checkWriters(): void {
    const writers = new Map<string, string>();
    for (const { type, id, epoch, nodeId } of this.#history.transitions) {
      const shard = shardOfRow({ type, id });
      const writer = writers.get(`${shard}@${epoch}`);
      if (writer === undefined) writers.set(`${shard}@${epoch}`, nodeId);
      else if (writer !== nodeId)
        this.#violation(`${type}/${id}: shard ${shard} has two writers in epoch ${epoch}`);
    }
    // What an earlier owner wrote after a later one had begun slipped past the fence.
    const reached = new Map<number, number>();
    for (const { type, id, seq, epoch } of [...this.#history.transitions].sort(
      (a, b) => a.at - b.at || a.epoch - b.epoch,
    )) {
      const shard = shardOfRow({ type, id });
      const newest = reached.get(shard) ?? 0;
      if (epoch < newest)
        this.#violation(
          `${type}/${id}#${seq}: written in epoch ${epoch} after shard ${shard} had reached ${newest}`,
        );
      else reached.set(shard, epoch);
    }
    const shards = new Map(this.#history.shards.map((row) => [row.shard, row]));
    for (const { type, id, seq, epoch, at } of this.#history.transitions) {
      const shard = shards.get(shardOfRow({ type, id }));
      // A claim's time is that of its start; it may have waited behind a commit for a moment.
      if (shard && epoch < shard.epoch && at > shard.openedAt + CLAIM_WAIT_MS)
        this.#violation(
          `${type}/${id}#${seq}: written in epoch ${epoch} when its shard had reached ${shard.epoch}`,
        );
    }
  }

  /** Each message between actors was sent by a committed transition; at rest each has arrived. */
  #checkMessages(): void {
    const arrived = new Set<string>();
    /** By sender and target, the last that was applied. */
    const last = new Map<string, [seq: number, index: number]>();
    for (const transition of this.#history.transitions) {
      if (transition.origin !== 'actor') continue;
      const [type, id, seq, index] = (transition.eventId ?? '').split('/');
      const pair = `${type}/${id} ${addressKey(transition)}`;
      const place: [number, number] = [Number(seq) || 0, Number(index) || 0];
      const before = last.get(pair) ?? [0, 0];
      if (place[0] < before[0] || (place[0] === before[0] && place[1] < before[1]))
        this.#violation(
          `${addressKey(transition)}#${transition.seq}: ${transition.eventId} came behind a later message of its sender`,
        );
      last.set(pair, place);
      const name = `${addressKey(transition)}#${transition.seq}`;
      const sent = this.#sent.get(transition.eventId ?? '');
      if (!sent) this.#violation(`${name}: message ${transition.eventId} was never sent`);
      else if (sent.to !== addressKey(transition))
        this.#violation(`${name}: message ${transition.eventId} was sent to ${sent.to}`);
      else if (canonical(JSON.parse(sent.body)) !== canonical(JSON.parse(transition.event)))
        this.#violation(`${name}: message ${transition.eventId} says something else`);
      arrived.add(transition.eventId ?? '');
    }
    if (!this.#options.quiescent) return;
    for (const { headers } of this.#history.deadLetters) arrived.add(headers[OUTBOX_HEADER] ?? '');
    for (const [messageId, { to }] of this.#sent)
      if (!arrived.has(messageId)) this.#violation(`${messageId}: never arrived at ${to}`);
  }

  /** A machine that runs hangs below a machine that runs and has it; what a machine has is there. */
  #checkFamilies(): void {
    for (const row of this.#history.actors) {
      const { machines = {} } = JSON.parse(row.snapshot) as Envelope;
      for (const [childId, seq] of Object.entries(machines))
        if (!this.#rows.has(addressKey(childRow(row, childId, seq))))
          this.#violation(`${addressKey(row)}: its machine ${childId} of #${seq} has no row`);
      const above = row.status === 'active' ? parentOf(row) : undefined;
      if (!above) continue;
      const parent = this.#rows.get(addressKey(above.parent));
      const begun = parent && (JSON.parse(parent.snapshot) as Envelope).machines?.[above.childId];
      const isKnown =
        begun !== undefined && childRow(above.parent, above.childId, begun).id === row.id;
      if (parent?.status !== 'active' || !isKnown)
        this.#violation(`${addressKey(row)}: runs although nobody has it any more`);
    }
  }

  /** The table of timers and what the snapshots say is armed are the same. */
  #checkTimers(): void {
    const rows = new Set<string>();
    for (const { type, id, timerId, armedSeq } of this.#history.timers)
      rows.add(`${type}/${id}/${timerId}@${armedSeq}`);
    for (const row of this.#history.actors) {
      const armed = row.status === 'active' ? (JSON.parse(row.snapshot) as Envelope).timers : {};
      for (const [timerId, armedSeq] of Object.entries(armed))
        if (!rows.delete(`${addressKey(row)}/${timerId}@${armedSeq}`))
          this.#violation(`${addressKey(row)}: timer ${timerId} is armed and has no row`);
    }
    for (const row of rows) this.#violation(`${row}: a timer's row nothing armed`);
  }

  #checkExpected(): void {
    const { jobs = [], events = [] } = this.#options.expected ?? {};
    const dead = new Set(this.#history.deadLetters.map(({ messageId }) => messageId));
    const deadSubjects = new Set(this.#history.deadLetters.map(({ subject }) => subject));
    for (const job of jobs)
      if (!this.#rows.has(addressKey(job)) && !deadSubjects.has(`jobs.${job.type}.${job.id}`))
        this.#violation(`${addressKey(job)}: accepted, and neither an actor nor a dead letter`);
    for (const event of events) {
      const log = this.#logs.get(addressKey(event)) ?? [];
      const applied = log.filter(({ eventId }) => eventId === event.eventId).length;
      if (applied === 0 && !dead.has(event.eventId))
        this.#violation(`${addressKey(event)}: event ${event.eventId} was accepted and is lost`);
      if (applied > 0 && dead.has(event.eventId))
        this.#violation(
          `${addressKey(event)}: event ${event.eventId} was applied and is dead, too`,
        );
    }
    for (const { subject, reason } of this.#history.deadLetters)
      if (!(reason in ERRORS)) this.#violation(`${subject}: dead for an unknown reason ${reason}`);
  }

  #checkJournal(): void {
    const { journal, capture } = this.#options;
    if (!journal) return;
    const inputs = new Map<string, string>();
    const written = new Set<string>();
    for (const line of journal) {
      if (line.kind === 'action') {
        written.add(canonical(line));
        continue;
      }
      const { key, input, phase, at, committed } = line;
      const invoke = this.#invokes.get(key);
      if (!invoke) this.#violation(`${key}: ran, and no transition started it`);
      else if (at < Math.floor(invoke.at) - 1)
        this.#violation(`${key}: ran ${invoke.at - at} ms before its transition was committed`);
      if (committed === false) this.#violation(`${key}: ran before its transition could be seen`);
      const text = canonical(input);
      if (phase === 'start' && inputs.has(key) && inputs.get(key) !== text)
        this.#violation(`${key}: ran with ${inputs.get(key)} and with ${text}`);
      inputs.set(key, text);
    }
    for (const [key, { settled, asks }] of this.#invokes)
      if (settled && !asks && !inputs.has(key))
        this.#violation(`${key}: has a result and never ran`);
    if (!capture || !this.#options.quiescent) return;
    for (const line of this.#owed)
      if (!written.has(line)) this.#violation(`action never ran: ${line}`);
    const owed = new Set(this.#owed);
    for (const line of written)
      if (!owed.has(line)) this.#violation(`action ran for no transition: ${line}`);
  }

  #checkRest(): void {
    const { actors, outbox, timers } = this.#history;
    for (const row of actors) {
      if (row.busy) this.#violation(`${addressKey(row)}: still busy`);
      if (row.actedSeq !== row.seq)
        this.#violation(
          `${addressKey(row)}: actions acknowledged to ${row.actedSeq} of ${row.seq}`,
        );
    }
    for (const { messageId } of outbox) this.#violation(`${messageId}: still in the outbox`);
    for (const { type, id } of timers)
      if (this.#rows.get(`${type}/${id}`)?.status !== 'active')
        this.#violation(`${type}/${id}: has ended and still has a timer`);
    const { outcomes } = this.#options;
    if (!outcomes) return;
    const told = new Set(outcomes.map((o) => `${addressKey(o)}#${o.seq} ${o.status}`));
    for (const row of actors)
      if (
        row.status !== 'active' &&
        !isChildRow(row) &&
        !told.has(`${addressKey(row)}#${row.seq} ${row.status}`)
      )
        this.#violation(`${addressKey(row)}: its outcome was never published`);
  }
}

function stepOn(
  type: ActorType,
  address: Address,
  scope: ReturnType<typeof createStepScope>,
  live: Live,
  transition: StoredTransition,
): Step {
  if (isMigration(transition))
    return migrateStep(type, address, scope, live.seq, live.envelope, LIMITS).step;
  if (transition.eventType === ABANDON) return abandonStep(type, live.seq, live.envelope);
  // A result settles the child's snapshot in place; the event is parsed anew so that nothing is shared.
  const { origin, eventId } = transition;
  const timerId = origin === 'timer' ? eventId?.split(':').slice(2).join(':') : undefined;
  const event = parse(transition.event) as { type: string };
  return nextStep(type, address, scope, live, { event, origin, timerId }, LIMITS);
}

/** A family is where its root is. */
const shardOfRow = (row: Address): number => shardOf(row.type, rootOf(row).id, SHARDS);

/** Fields in a fixed order, without what differs between two runs of the same thing. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (key, item) => {
    if (key === 'at' || key === 'pid') return undefined;
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function difference(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const cut = (text: string) => text.slice(Math.max(0, at - 20), at + 60);
  return `stored …${cut(a)}… computed …${cut(b)}…`;
}
