import type { EventObject } from 'xstate';
import type { LogMessage } from '../bus/bus.ts';
import { OUTBOX_HEADER, TOKEN } from '../bus/subjects.ts';
import type { Limits } from '../config.ts';
import { type ErrorCode, PerdureError } from '../errors.ts';
import type { Address } from '../store/store.ts';
import { parseGiven, stringify } from './codec.ts';
import { rootOf } from './kin.ts';
import { FOR, type Target, targetOf } from './refs.ts';
import { CANCEL, PAUSE, RELEASE, RESUME, SEND } from './step.ts';
import { Texts } from './texts.ts';

/** A message of the log that says something an actor can be asked. */
export interface Request {
  ok: true;
  kind: 'start' | 'event';
  address: Address;
  /** What it is deduplicated by within the actor's life. */
  eventId: string;
  /** Set when another actor sent it: its outbox row's id. */
  outboxId: string | null;
  /** The body as it stands in the log; empty for a start without input. */
  text: string;
  /** The input, or the event. */
  value: unknown;
  /** Who is meant is what has asked: the event is the answer, or says why there will be none. */
  answers?: { invoke: NonNullable<Target['invoke']>; refused: boolean } | undefined;
}

/** A message nobody can act on, and why. */
export interface Refusal {
  ok: false;
  reason: ErrorCode;
  detail: string;
  /** Set when another actor sent it: its outbox row's id. */
  outboxId: string | null;
}

/** What can be said to an actor in quarantine, or to one that is paused. */
export function frees({ kind, value }: Request): boolean {
  const type = kind === 'event' && (value as { type: string }).type;
  return type === RELEASE || type === CANCEL;
}

/** Whether the actor is to be paused, or to be resumed; undefined: neither. */
export function pauses({ kind, value }: Request): boolean | undefined {
  const type = kind === 'event' && (value as { type: string }).type;
  return type === PAUSE ? true : type === RESUME ? false : undefined;
}

const refuse = (outboxId: string | null, reason: ErrorCode, detail: string): Refusal => ({
  ok: false,
  reason,
  detail,
  outboxId,
});

const badToken = (part: 'type' | 'id', token: string): string =>
  `The ${part} ${JSON.stringify(token)} is not allowed: use 1 to 128 of A-Z a-z 0-9 _ and -.`;

const EVENT_ID_MAX = 512;
const EVENT_TYPE_MAX = 256;

/** Why nothing is deduplicated by it, or undefined. Clients use it before they publish. */
export const messageIdProblem = (id: string): string | undefined =>
  id === '' || id.length > EVENT_ID_MAX || hasControl(id) || id.startsWith('!')
    ? `The message id must be 1 to ${EVENT_ID_MAX} printable characters and not begin with "!".`
    : undefined;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

/** Thousands of messages of a type wait at once. */
const typeNames = new Texts((name) => name);

/** Reads one message. `logTag` makes ids for messages that came without one. Pure. */
export function readMessage(
  message: LogMessage,
  logTag: string,
  limits: Limits,
): Request | Refusal {
  const outboxId = message.header(OUTBOX_HEADER);
  const [kind, named = '', id = '', ...rest] = message.subject.split('.');
  if ((kind !== 'jobs' && kind !== 'events') || rest.length > 0)
    return refuse(
      outboxId,
      'bad_subject',
      `${message.subject} is neither jobs.<type>.<id> nor events.<type>.<id>.`,
    );
  if (!TOKEN.test(named)) return refuse(outboxId, 'bad_subject', badToken('type', named));
  if (!TOKEN.test(id)) return refuse(outboxId, 'bad_subject', badToken('id', id));
  const type = typeNames.of(named);
  const { body } = message;
  if (body.length > limits.bodyMaxBytes)
    return refuse(
      outboxId,
      'body_too_large',
      `The body has ${body.length} bytes; at most ${limits.bodyMaxBytes} are allowed.`,
    );
  const eventId = outboxId ?? (message.messageId || `${logTag}.${message.seq}`);
  const wrongId = messageIdProblem(eventId);
  if (wrongId) return refuse(outboxId, 'bad_event', wrongId);

  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(body);
    value = text === '' && kind === 'jobs' ? undefined : parseGiven(text);
  } catch (error) {
    if (error instanceof PerdureError && error.code === 'not_serialisable')
      return refuse(outboxId, 'bad_body', error.message);
    return refuse(
      outboxId,
      'bad_body',
      `The body cannot be read as JSON in UTF-8: ${(error as Error).message}`,
    );
  }
  const problem = bodyProblem(value, limits.nestingMax);
  if (problem) return refuse(outboxId, 'bad_body', problem);
  if (kind === 'events' && outboxId !== null && isFor(value, type, id)) {
    const to = targetOf(value.to) as Target;
    // A child without a row of its own is told by its actor.
    const { child } = to;
    const event = child === undefined ? value.event : { type: SEND, child, event: value.event };
    return {
      ok: true,
      kind: 'event',
      address: { type, id: to.id },
      eventId,
      outboxId,
      text: stringify(event, 'event', limits.nestingMax),
      value: event,
      answers: to.invoke && { invoke: to.invoke, refused: event instanceof Error },
    };
  }
  if (kind === 'events') {
    const wrong = eventProblem(value);
    if (wrong) return refuse(outboxId, 'bad_event', wrong);
  }
  return {
    ok: true,
    kind: kind === 'jobs' ? 'start' : 'event',
    address: { type, id },
    eventId,
    outboxId,
    text,
    value,
  };
}

/** What `addressed` makes of a message to somebody who has no subject. */
function isFor(
  value: unknown,
  type: string,
  id: string,
): value is { to: object; event: EventObject | Error } {
  const { type: kind, to } = (value ?? {}) as { type?: unknown; to?: unknown };
  const target = kind === FOR && typeof to === 'object' && to !== null ? targetOf(to) : undefined;
  // Anybody can write the header: this shard speaks for the family it was sent to, and for nobody else.
  return target !== undefined && target.type === type && rootOf(target).id === id;
}

/** Events of Perdure's own that may come from outside. */
export const COMMANDS: readonly string[] = [CANCEL, PAUSE, RESUME, RELEASE];

/** Why a value is no event that may come from outside, or undefined. Clients use it before they publish. */
export function eventProblem(value: unknown): string | undefined {
  const problem = shapeProblem(value);
  if (problem) return problem;
  const { type } = value as { type: string };
  if (type === '*' || type.startsWith('xstate.'))
    return `Event type ${JSON.stringify(type)} is XState's own and cannot come from outside.`;
  if (type.startsWith('perdure.') && !COMMANDS.includes(type))
    return `Event type ${JSON.stringify(type)} is Perdure's own; only ${COMMANDS.join(', ')} can come from outside.`;
  return undefined;
}

/** What is wrong with an event, wherever it comes from. */
export function shapeProblem(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'An event must be a JSON object with a "type".';
  const { type } = value as { type?: unknown };
  if (typeof type !== 'string' || type === '')
    return 'An event needs a "type": a string that is not empty.';
  if (type.length > EVENT_TYPE_MAX || hasControl(type))
    return `An event's type must be at most ${EVENT_TYPE_MAX} printable characters.`;
  return undefined;
}

export function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 0x20) return true;
  return false;
}

/** What no body may hold: endless nesting, and the key that turns data into a prototype when it is merged. */
export function bodyProblem(
  value: unknown,
  nestingMax: number,
  room = nestingMax,
): string | undefined {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return undefined;
  if (room <= 0) return `The body is nested deeper than ${nestingMax} levels.`;
  if (value instanceof Map || value instanceof Set)
    return bodyProblem([...value], nestingMax, room - 1);
  for (const key in value) {
    if (key === '__proto__') return 'The body has the key "__proto__", which is not allowed.';
    const item = (value as Record<string, unknown>)[key];
    if (typeof item !== 'object' || item === null) continue;
    const problem = bodyProblem(item, nestingMax, room - 1);
    if (problem) return problem;
  }
  return undefined;
}
