import type { EventObject } from 'xstate';
import type { LogMessage } from '../bus/bus.ts';
import { REPLY_HEADER } from '../bus/subjects.ts';
import { asError, type ErrorCode, PerdureError } from '../errors.ts';
import { addressKey, eventKey, type Origin, type StoredActor } from '../store/store.ts';
import type { Batch, Taken } from './batch.ts';
import { ChildReports } from './childReports.ts';
import { errorData, errorSummary, parse, stringify } from './codec.ts';
import type { ActorType } from './define.ts';
import { isAct } from './effects.ts';
import { hasControl, type Refusal, type Request } from './intake.ts';
import type { Item } from './mailbox.ts';
import { migrateStep } from './migrate.ts';
import { timerEventId } from './replay.ts';
import { Resident } from './resident.ts';
import { outcomeOf } from './results.ts';
import { resumeKept, resumeReleased } from './resume.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { FAIL, firstStep, nextStep, RELEASE, SEND, type Step } from './step.ts';

type Of<K extends Item['kind']> = Extract<Item, { kind: K }>;

/** What caused a step, as its transition row tells it. */
export interface Cause {
  eventType: string;
  /** Encoded event. */
  text: string;
  eventId: string | null;
  origin: Origin;
}

/**
 * Turns one item of the mailbox into a step in the batch, or a dead letter, or nothing (a duplicate, a stale result).
 * Synchronous: everything it needs has been loaded before.
 */
export class Taker {
  readonly #ring: Ring;
  readonly #shard: Shard;
  readonly reports: ChildReports;
  /** Why rows could not be opened, for whoever is told. */
  readonly #failures = new WeakMap<StoredActor, Error>();

  constructor(ring: Ring, shard: Shard) {
    this.#ring = ring;
    this.#shard = shard;
    this.reports = new ChildReports(ring, shard, (batch, resident, event, cause) =>
      this.#step(batch, resident, event, cause),
    );
  }

  /**
   * The actor in memory; undefined when this node knows no version that can open it. One of a version that is only known
   * to a `migrate` is stepped over into the batch: its `seq` is one more than its row's.
   */
  rehydrate(row: StoredActor): Resident | undefined {
    const { registry, log } = this.#ring;
    const { type: name, version } = row;
    const actor = addressKey(row);
    const known = registry.version(name, version);
    const next = known ? undefined : registry.migrating(name, version);
    try {
      if (known) return Resident.rehydrated(row, known, this.#shard.deliver);
      if (next && mayMigrate(row)) return this.#migrate(row, next);
    } catch (error) {
      const failure = asError(error);
      this.#failures.set(row, failure);
      log.error(
        { actor, version, error: failure.message },
        next && !isOfCodec(failure)
          ? 'actor: migrate failed, left alone'
          : 'actor: cannot be rehydrated',
      );
      return undefined;
    }
    if (next && row.status === 'active')
      log.warn({ actor, version }, 'actor: actions of its old version are left, left alone');
    else log.warn({ actor, version }, 'actor: version unknown here, left alone');
    return undefined;
  }

  #migrate(row: StoredActor, type: ActorType): Resident {
    const { limits, log } = this.#ring;
    const { batch } = this.#shard;
    const resident = Resident.migrating(row, type, this.#shard.deliver);
    const { address, scope } = resident;
    const { before, step, event } = migrateStep(
      type,
      address,
      scope,
      row.seq,
      row.snapshot,
      limits,
    );
    resident.live = before;
    const cause = { eventType: event.type, text: JSON.stringify(event), eventId: null } as const;
    this.#record(batch, resident, row.state, step, { ...cause, origin: 'engine' });
    const kept = Object.entries(step.live.started).filter(([, seq]) => seq <= row.seq);
    if (kept.length > 0)
      batch.afterwards.push(() => resumeKept(this.#ring, this.#shard, resident, kept));
    log.info({ actor: resident.key, from: event.from, to: event.to }, 'actor: migrated');
    return resident;
  }

  /** Returns the actor when the message created one. */
  message(
    batch: Batch,
    message: LogMessage,
    read: Request | Refusal,
    actor: Resident | StoredActor | undefined,
    known: ReadonlySet<string>,
  ): Resident | undefined {
    batch.consumed(message);
    if (read.outboxId !== null) batch.delivered(read.outboxId);
    if (!read.ok) return this.#refuse(batch, message, read.reason, read.detail);
    const { address, eventId } = read;
    const name = addressKey(address);
    if (actor && (remembers(actor, eventId) || known.has(eventKey({ ...address, eventId }))))
      return this.#reply(batch, message, { ok: true, ...address, duplicate: true });
    if (read.kind === 'start') {
      if (actor)
        return this.#refuse(
          batch,
          message,
          'actor_exists',
          `${name} exists already (${actor.status}).`,
        );
      return this.#start(batch, message, read);
    }
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
    if (!(actor instanceof Resident)) return this.#refuse(batch, message, ...this.#closed(actor));
    const event = read.value as EventObject;
    if (event.type === RELEASE) return this.#release(batch, message, actor);
    const origin = read.outboxId !== null ? 'actor' : 'event';
    const cause: Cause = { eventType: event.type, text: read.text, eventId, origin };
    this.#step(batch, actor, event, cause);
    this.#replyStepped(batch, message, actor);
    return undefined;
  }

  timer(batch: Batch, resident: Resident, item: Of<'timer'>): void {
    if (resident.live?.timers[item.timerId] !== item.armedSeq || resident.finished) return;
    const event = parse(item.event) as EventObject;
    // One id for one arming: Postgres itself refuses a second firing (G6).
    const eventId = timerEventId(item.timerId, item.armedSeq);
    const cause: Cause = { eventType: event.type, text: item.event, eventId, origin: 'timer' };
    batch.dropTimer({ ...resident.address, timerId: item.timerId });
    const seq = this.#step(batch, resident, event, cause, item.timerId);
    if (event.type === SEND && 'to' in event) {
      const { to, event: sent } = event as unknown as {
        to: { type: string; id: string };
        event: unknown;
      };
      const body = stringify(sent, 'event', this.#ring.limits.nestingMax);
      batch.send({ messageId: `${resident.key}/${seq}/timer`, kind: 'send', ...to, body });
    }
  }

  self(batch: Batch, resident: Resident, item: Of<'self'>, known: ReadonlySet<string>): void {
    const { eventId } = item;
    if (resident.finished || resident.eventIds.has(eventId)) return;
    if (known.has(eventKey({ ...item.address, eventId }))) return;
    const text = stringify(item.event, 'event', this.#ring.limits.nestingMax);
    const event = parse(text) as EventObject;
    this.#step(batch, resident, event, { eventType: event.type, text, eventId, origin: 'self' });
  }

  failed(batch: Batch, resident: Resident, error: Error): void {
    if (resident.finished) return;
    const text = JSON.stringify({ type: FAIL, error: errorData(errorSummary(error)) });
    const event = parse(text) as EventObject;
    this.#step(batch, resident, event, { eventType: FAIL, text, eventId: null, origin: 'engine' });
  }

  /** No transition: the row is written, which ends the quarantine, and what the actor waits for is started. */
  #release(batch: Batch, message: LogMessage, resident: Resident): undefined {
    const { quarantined } = resident;
    resident.quarantined = undefined;
    this.#replyStepped(batch, message, resident);
    if (!quarantined) return;
    batch.row(resident);
    batch.afterwards.push(
      () =>
        void resumeReleased(this.#ring, this.#shard, resident, quarantined).catch((error) =>
          this.#shard.surprised(asError(error).message),
        ),
    );
  }

  #start(batch: Batch, message: LogMessage, read: Request): Resident | undefined {
    const { address, eventId } = read;
    const type = this.#ring.registry.newest(address.type);
    if (!type) return this.#unknownType(batch, message, address.type);
    const resident = Resident.created(address, type, this.#shard.deliver);
    const step = firstStep(type, address, resident.scope, read.value, this.#ring.limits);
    const text =
      read.text === '' ? '{"type":"xstate.init"}' : `{"type":"xstate.init","input":${read.text}}`;
    this.#record(batch, resident, null, step, {
      eventType: 'xstate.init',
      text,
      eventId,
      origin: 'start',
    });
    this.#replyStepped(batch, message, resident);
    return resident;
  }

  #step(
    batch: Batch,
    resident: Resident,
    event: EventObject,
    cause: Cause,
    timerId?: string,
  ): number {
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
    return step.live.seq;
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
    resident.take(step);
    resident.uncommitted++;
    resident.touchedAt = this.#ring.clock.monotonic();
    if (cause.eventId !== null) resident.eventIds.add(cause.eventId);
    const taken: Taken = {
      resident,
      seq,
      eventType: cause.eventType,
      fromState,
      toState: step.state,
      status: step.status,
      effects: step.effects,
      timers: step.timersArmed.map((timer) => ({ ...address, ...timer, armedSeq: seq })),
    };
    for (const timerId of step.timersDropped) batch.dropTimer({ ...address, timerId });
    batch.transition(taken, {
      type: address.type,
      id: address.id,
      seq,
      eventType: cause.eventType,
      event: cause.text,
      eventId: cause.eventId,
      origin: cause.origin,
      fromState,
      toState: step.state,
      edges: step.edges,
      actions: step.effects.reduce((n, effect) => (isAct(effect) ? n + 1 : n), 0),
      snapshot: step.envelope,
    });
    for (const { index, to, body } of step.messages)
      batch.send({ messageId: `${key}/${seq}/${index}`, kind: 'send', ...to, body });
    if (step.status !== 'active') batch.send(outcomeOf(resident, step));
  }

  /** Why an actor was left alone. */
  #closed(row: StoredActor): [reason: ErrorCode, detail: string] {
    const { registry } = this.#ring;
    const { type, version } = row;
    const name = addressKey(row);
    const failure = this.#failures.get(row);
    if (failure && isOfCodec(failure)) return ['codec_failed', failure.message];
    const migrates = !registry.version(type, version) && registry.migrating(type, version);
    if (migrates && failure !== undefined) return ['migrate_failed', failure.message];
    if (migrates)
      return [
        'version_unknown',
        `${name} has actions left to do of version ${version}, which only a node with that version can. This one knows ${registry}.`,
      ];
    return [
      'version_unknown',
      `${name} was written by version ${version}, which this node cannot open. It knows ${registry}.`,
    ];
  }

  #unknownType(batch: Batch, message: LogMessage, type: string): undefined {
    const detail = `No node here knows actor type ${type}; this one knows ${this.#ring.registry}.`;
    return this.#refuse(batch, message, 'unknown_type', detail);
  }

  #refuse(batch: Batch, message: LogMessage, reason: ErrorCode, detail: string): undefined {
    this.#ring.load.deadLetters++;
    this.#ring.log.warn(
      { subject: message.subject.slice(0, 300), seq: message.seq, reason, detail },
      'dead letter',
    );
    batch.deadLetter({
      logId: this.#ring.source.id,
      logSeq: message.seq,
      reason,
      detail: printable(detail),
      subject: printable(message.subject),
      headers: JSON.stringify(message.headers()),
      body: message.body,
      messageId: message.messageId === null ? null : printable(message.messageId),
    });
    return this.#reply(batch, message, { ok: false, error: { code: reason, message: detail } });
  }

  #replyStepped(batch: Batch, message: LogMessage, resident: Resident): void {
    if (message.header(REPLY_HEADER) === null) return;
    const { address, status, live } = resident;
    this.#reply(batch, message, {
      ok: true,
      ...address,
      seq: live?.seq,
      status,
      state: JSON.parse(resident.state),
    });
  }

  #reply(batch: Batch, message: LogMessage, body: object): undefined {
    const subject = message.header(REPLY_HEADER);
    // Only to an inbox: a publisher must not borrow this node's rights to write elsewhere.
    if (subject !== null && INBOX.test(subject))
      batch.replies.push({ subject, body: JSON.stringify(body) });
  }
}

/** Actions that were not acknowledged are redone from the history, which takes the machine that wrote it (G4). */
const mayMigrate = ({ status, actedSeq, seq }: StoredActor): boolean =>
  status === 'active' && actedSeq === seq;

const isOfCodec = (error: Error): boolean =>
  error instanceof PerdureError && error.code === 'codec_failed';

/** `_INBOX.…`, also with a prefix of the user's own (`_INBOX_orders.…`). */
const INBOX = /^_INBOX[\w-]*(\.[\w-]+)+$/;

/** Postgres' text holds no NUL, and a log line no line breaks. */
const printable = (text: string): string =>
  hasControl(text) ? text.replace(/\p{Cc}/gu, '\uFFFD') : text;

/** Whether the actor has taken the event; undefined when memory cannot tell. */
export function remembers(actor: Resident | StoredActor, eventId: string): boolean | undefined {
  const has =
    actor instanceof Resident ? actor.eventIds.has(eventId) : actor.eventIds.includes(eventId);
  return has || (actor.eventIdsComplete ? false : undefined);
}
