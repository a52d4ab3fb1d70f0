import type { EventObject } from 'xstate';
import type { LogMessage } from '../bus/bus.ts';
import { OUTBOX_HEADER, REPLY_HEADER } from '../bus/subjects.ts';
import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import { eventKey, type Origin, type StoredActor, type TimerWrite } from '../store/store.ts';
import type { Batch } from './batch.ts';
import { bury } from './bury.ts';
import { ChildReports } from './childReports.ts';
import { errorData, errorSummary, parse, stringify } from './codec.ts';
import { type Caused, Family } from './family.ts';
import { pauses, type Refusal, type Request, shapeProblem } from './intake.ts';
import { isChildRow } from './kin.ts';
import type { Born } from './machineLogic.ts';
import type { Item } from './mailbox.ts';
import { Opener } from './opener.ts';
import { Parker } from './parker.ts';
import { letGo, pauseRefusal, setPaused } from './pausing.ts';
import { addressed, type Target } from './refs.ts';
import { timerEventId } from './replay.ts';
import { Resident } from './resident.ts';
import { outcomeOf } from './results.ts';
import { resumeReleased } from './resume.ts';
import type { Ring } from './ring.ts';
import { searchableIn } from './searchable.ts';
import type { Shard } from './shard.ts';
import { bornStep, FAIL, firstStep, nextStep, RELEASE, SEND, type Step } from './step.ts';
import { type Traced, withTrace } from './tracing.ts';
import { transitionRow } from './transitionRow.ts';

type Of<K extends Item['kind']> = Extract<Item, { kind: K }>;

/** What caused a step, as its transition row tells it. */
export interface Cause {
  eventType: string;
  /** Encoded event. */
  text: string;
  eventId: string | null;
  origin: Origin;
  /** Undefined when tracing is off, and for what has no trace but the actor's own. */
  traced?: Traced | undefined;
}

/**
 * Turns one item of the mailbox into a step in the batch, or a dead letter, or nothing (a duplicate, a stale result).
 * Synchronous: everything it needs has been loaded before.
 */
export class Taker {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly #parker: Parker;
  readonly reports: ChildReports;
  readonly opener: Opener;
  readonly #family: Family;

  constructor(ring: Ring, shard: Shard) {
    this.#ring = ring;
    this.#shard = shard;
    this.#parker = new Parker(ring, shard);
    this.reports = new ChildReports(ring, shard, (batch, resident, event, cause) =>
      this.#step(batch, resident, { event, cause }),
    );
    this.opener = new Opener(ring, shard, {
      record: (resident, from, step, cause) =>
        this.#record(shard.batch, resident, from, step, cause),
      follow: (resident, step) => this.#family.follow(shard.batch, resident, step),
    });
    this.#family = new Family(shard, ring.limits, {
      next: (batch, resident, caused) => this.#stepAlone(batch, resident, caused),
      first: (batch, resident, born, path) => this.#bear(batch, resident, born, path),
    });
  }

  message(
    batch: Batch,
    message: LogMessage,
    read: Request | Refusal,
    actor: Resident | StoredActor | undefined,
    known: ReadonlySet<string>,
    /** `addressKey` of whom it is for. */
    name: string,
  ): undefined {
    if (!read.ok) {
      this.#parker.consume(batch, message, read);
      return this.#refuse(batch, message, read.reason, read.detail);
    }
    const { address, eventId } = read;
    const isKnown =
      actor && (remembers(actor, eventId) || known.has(eventKey({ ...address, eventId })));
    const paused = pauses(read);
    if (paused !== undefined && actor && !isKnown && isUp(actor))
      return this.#pause(batch, message, read, actor, paused);
    if (!isKnown && this.#parker.mustWait(message, read, actor, this.#isBroken(actor))) {
      if (this.#parker.park(batch, message, read, actor)) return undefined;
      return this.#refuse(
        batch,
        message,
        'parked_full',
        `${name} is paused, or waits for a node that can open it, and ${this.#ring.limits.shardParkedMax} messages of its shard wait already.`,
      );
    }
    this.#parker.consume(batch, message, read);
    if (actor && read.kind === 'start') this.#ring.newcomers.met(name);
    if (isKnown) return this.#reply(batch, message, { ok: true, ...address, duplicate: true });
    if (read.kind === 'start') {
      if (actor)
        return this.#refuse(
          batch,
          message,
          'actor_exists',
          `${name} exists already (${actor.status}).`,
        );
      return this.#start(batch, message, read, name);
    }
    if (!actor && isChildRow(address))
      return this.#refuse(batch, message, 'actor_finished', `${name} has ended.`);
    if (!actor) {
      const type = this.#ring.registry.newest(address.type);
      return type
        ? this.#refuse(batch, message, 'unknown_actor', `There is no ${name}; start it first.`)
        : this.#unknownType(batch, message, address.type);
    }
    if (actor.status !== 'active')
      return this.#refuse(batch, message, 'actor_finished', `${name} has ended (${actor.status}).`);
    if (!(actor instanceof Resident) && actor.quarantined)
      return this.#refuse(
        batch,
        message,
        'actor_quarantined',
        `${name} is in quarantine: ${actor.crashes} nodes died in a row while something ran for it.`,
      );
    if (!(actor instanceof Resident))
      return this.#refuse(batch, message, ...(this.opener.failure(actor) as [ErrorCode, string]));
    if (read.answers) return this.reports.answered(batch, actor, read);
    const event = read.value as EventObject;
    if (event.type === RELEASE) return this.#release(batch, message, actor);
    const origin = read.outboxId !== null ? 'actor' : 'event';
    const traced = this.#ring.tracing?.of(message);
    const cause: Cause = { eventType: event.type, text: read.text, eventId, origin, traced };
    this.#step(batch, actor, { event, cause });
    this.#replyStepped(batch, message, actor);
    if (actor.paused !== undefined && actor.finished) letGo(this.#ring, this.#shard, batch, actor);
    return undefined;
  }

  timer(batch: Batch, resident: Resident, item: Of<'timer'>): void {
    if (resident.live?.timers[item.timerId] !== item.armedSeq || resident.finished) return;
    const event = parse(item.event) as EventObject;
    // One id for one arming: Postgres itself refuses a second firing (G6).
    const eventId = timerEventId(item.timerId, item.armedSeq);
    const cause: Cause = { eventType: event.type, text: item.event, eventId, origin: 'timer' };
    batch.dropTimer({ ...resident.address, timerId: item.timerId });
    const seq = this.#step(batch, resident, { event, cause, timerId: item.timerId });
    if (event.type === SEND && 'to' in event) {
      const { to, event: sent } = event as unknown as { to: Target; event: unknown };
      const body = stringify(sent, 'event', this.#ring.limits.nestingMax);
      const messageId = `${resident.key}/${seq}/timer`;
      batch.send({ messageId, kind: 'send', ...addressed(to, body), trace: resident.trace });
    }
  }

  self(batch: Batch, resident: Resident, item: Of<'self'>, known: ReadonlySet<string>): void {
    const { eventId } = item;
    if (resident.finished || resident.hasTaken(eventId)) return;
    if (known.has(eventKey({ ...item.address, eventId }))) return;
    let text: string;
    try {
      text = selfText(resident.key, item.event, this.#ring.limits.nestingMax);
    } catch (error) {
      // As if the action that has sent it had thrown.
      return this.failed(batch, resident, asError(error));
    }
    const event = parse(text) as EventObject;
    const cause = { eventType: event.type, text, eventId, origin: 'self' } as const;
    this.#step(batch, resident, { event, cause });
  }

  failed(batch: Batch, resident: Resident, error: Error): void {
    if (resident.finished) return;
    const text = JSON.stringify({ type: FAIL, error: errorData(errorSummary(error)) });
    const event = parse(text) as EventObject;
    const cause = { eventType: FAIL, text, eventId: null, origin: 'engine' } as const;
    this.#step(batch, resident, { event, cause });
  }

  /** No transition: the row says it. */
  #pause(
    batch: Batch,
    message: LogMessage,
    read: Request,
    actor: Resident | StoredActor,
    paused: boolean,
  ): undefined {
    this.#parker.consume(batch, message, read);
    const refused = pauseRefusal(this.#shard, read.address, actor, paused);
    if (refused) return this.#refuse(batch, message, ...refused);
    setPaused(this.#ring, this.#shard, batch, actor, paused);
    this.#replyStepped(batch, message, actor, { paused });
  }

  /** No transition: the row is written, which ends the quarantine, and what the actor waits for is started. */
  #release(batch: Batch, message: LogMessage, resident: Resident): undefined {
    const members = [...resident.members()];
    const released = members.some(({ quarantined }) => quarantined !== undefined);
    this.#replyStepped(batch, message, resident, { released });
    for (const member of members) {
      const { quarantined } = member;
      member.quarantined = undefined;
      if (!quarantined) continue;
      batch.row(member);
      batch.afterwards.push(
        () =>
          void resumeReleased(this.#ring, this.#shard, member, quarantined).catch((error) =>
            this.#shard.surprised(asError(error).message),
          ),
      );
    }
  }

  #start(batch: Batch, message: LogMessage, read: Request, key: string): undefined {
    const { address, eventId } = read;
    const type = this.#ring.registry.newest(address.type);
    if (!type) return this.#unknownType(batch, message, address.type);
    const resident = Resident.created(address, type, this.#shard.deliver, key);
    const step = firstStep(type, address, resident.scope, read.value, this.#ring.limits);
    const text = initText(read.text);
    const traced = this.#ring.tracing?.of(message);
    const cause: Cause = { eventType: INIT, text, eventId, origin: 'start', traced };
    this.#record(batch, resident, null, step, cause);
    if (type.searchable.length > 0)
      batch.searchable(searchableIn(type.searchable, address, read.value));
    this.#shard.adopt(resident);
    if (step.kin.length > 0) this.#family.follow(batch, resident, step);
    this.#replyStepped(batch, message, resident);
  }

  #step(batch: Batch, resident: Resident, caused: Caused): number {
    if (resident.parent || resident.children.size > 0)
      return this.#family.take(batch, resident, caused).live.seq;
    const step = this.#stepAlone(batch, resident, caused);
    if (step.kin.length > 0) this.#family.follow(batch, resident, step);
    return step.live.seq;
  }

  #stepAlone(batch: Batch, resident: Resident, { event, cause, timerId }: Caused): Step {
    const { type, address, scope, live } = resident;
    const fromState = resident.state;
    const step = nextStep(
      type,
      address,
      scope,
      live as NonNullable<typeof live>,
      { event, origin: cause.origin, timerId },
      this.#ring.limits,
    );
    this.#record(batch, resident, fromState, step, cause);
    return step;
  }

  /** The first step of a child machine. */
  #bear(batch: Batch, resident: Resident, born: Born, path: readonly string[]): Step {
    const step = bornStep(resident.type, born, path, this.#ring.limits);
    const text = initText(born.input);
    const cause = { eventType: INIT, text, eventId: null, origin: 'family' } as const;
    this.#record(batch, resident, null, step, cause);
    return step;
  }

  #record(
    batch: Batch,
    resident: Resident,
    fromState: string | null,
    step: Step,
    cause: Cause,
  ): void {
    const { address, key } = resident;
    const { seq } = step.live;
    const span = this.#ring.tracing?.transition(
      this.#shard.place,
      resident,
      step,
      cause,
      fromState,
    );
    const trace = span?.trace;
    if (resident.trace !== undefined) step.envelope = withTrace(step.envelope, resident.trace);
    resident.take(step, cause.eventId);
    resident.uncommitted++;
    resident.touchedAt = this.#ring.clock.monotonic();
    for (const timerId of step.timersDropped) batch.dropTimer({ ...address, timerId });
    const write = transitionRow(address, fromState, step, cause);
    const timers =
      step.timersArmed.length === 0
        ? NO_TIMERS
        : step.timersArmed.map((timer) => ({ ...address, ...timer, armedSeq: seq }));
    batch.transition({
      resident,
      write,
      status: step.status,
      effects: step.effects,
      timers,
      span,
    });
    for (const { index, to, body } of step.messages) {
      const messageId = `${key}/${seq}/${index}`;
      batch.send({ messageId, kind: 'send', ...addressed(to, body), trace });
    }
    if (step.status !== 'active' && !isChildRow(address))
      batch.send({ ...outcomeOf(resident, step), trace });
  }

  #isBroken(actor: Resident | StoredActor | undefined): boolean {
    return (
      actor !== undefined &&
      !(actor instanceof Resident) &&
      this.opener.failure(actor) !== undefined
    );
  }

  #unknownType(batch: Batch, message: LogMessage, type: string): undefined {
    const detail = `No node knows actor type ${type}; this one knows ${this.#ring.registry}.`;
    return this.#refuse(batch, message, 'unknown_type', detail);
  }

  #refuse(batch: Batch, message: LogMessage, reason: ErrorCode, detail: string): undefined {
    bury(this.#ring, this.#shard, batch, {
      letter: this.#parker.written(message),
      ...{ reason, detail },
      outboxId: message.header(OUTBOX_HEADER),
      logSeq: message.seq,
    });
    return this.#reply(batch, message, { ok: false, error: { code: reason, message: detail } });
  }

  #replyStepped(
    batch: Batch,
    message: LogMessage,
    actor: Resident | StoredActor,
    more: { released?: boolean; paused?: boolean } = {},
  ): void {
    if (message.header(REPLY_HEADER) === null) return;
    const { status, state } = actor;
    const { type, id } = actor instanceof Resident ? actor.address : actor;
    this.#reply(batch, message, {
      ok: true,
      type,
      id,
      seq: actor instanceof Resident ? actor.live?.seq : actor.seq,
      status,
      state: JSON.parse(state),
      ...more,
    });
  }

  #reply(batch: Batch, message: LogMessage, body: object): undefined {
    const subject = message.header(REPLY_HEADER);
    // Only to an inbox: a publisher must not borrow this node's rights to write elsewhere.
    if (subject !== null && INBOX.test(subject))
      batch.replies.push({ subject, body: JSON.stringify(body) });
  }
}

/** What an actor's own action has sent it. @throws PerdureError `bad_event`, `not_serialisable` */
function selfText(key: string, event: unknown, nestingMax: number): string {
  const problem = shapeProblem(event);
  if (problem)
    throw new PerdureError('bad_event', `${key} sent itself what is no event. ${problem}`);
  return stringify(event, 'event', nestingMax);
}

/** It has not ended, and is in no quarantine. */
const isUp = (actor: Resident | StoredActor): boolean =>
  actor.status === 'active' && !actor.quarantined;

const INIT = 'xstate.init';
const NO_TIMERS: readonly TimerWrite[] = [];

/** The event of a first transition; `input` is encoded, and empty when there is none. */
const initText = (input: string): string =>
  input === '' ? `{"type":"${INIT}"}` : `{"type":"${INIT}","input":${input}}`;

/** `_INBOX.…`, also with a prefix of the user's own (`_INBOX_orders.…`). */
const INBOX = /^_INBOX[\w-]*(\.[\w-]+)+$/;

/** Whether the actor has taken the event; undefined when memory cannot tell. */
export function remembers(actor: Resident | StoredActor, eventId: string): boolean | undefined {
  const has =
    actor instanceof Resident ? actor.hasTaken(eventId) : actor.eventIds.includes(eventId);
  return has || (actor.eventIdsComplete ? false : undefined);
}
