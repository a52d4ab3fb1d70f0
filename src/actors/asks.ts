import { type AnyActorRef, type EventObject, fromPromise, type PromiseActorLogic } from 'xstate';
import { LIMITS } from '../config.ts';
import { type ErrorCode, PerdureError } from '../errors.ts';
import type { Address, OutboxWrite } from '../store/store.ts';
import { workOf } from './attempt.ts';
import { parse, stringify } from './codec.ts';
import { waitsOnly } from './logic.ts';
import { addressed, FOR, peer, type Target, targetOf } from './refs.ts';

/** What an actor that is asked gets: the event, and whom to answer. */
export type Asked<TEvent extends EventObject> = TEvent & { replyTo: AnyActorRef };

/** What `fromAsk` is invoked with. */
export interface Ask<TEvent extends EventObject> {
  to: Address;
  event: TEvent;
}

const asking = new WeakSet<object>();

/**
 * Invoke logic that asks another durable actor, and gives the event it answers with: `actors: { price: fromAsk<PriceEvent>() }`,
 * invoked with `input: { to: { type: 'shop', id: 's-1' }, event: { type: 'PRICE?' } }`. The one that is asked gets the
 * event with `replyTo`, and answers with `sendTo(({ event }) => event.replyTo, …)`, when it likes. The question is
 * committed with the transition that asks and arrives once; so does the answer. The first answer counts.
 * It fails with the reason of the dead letter that the question became (`unknown_actor`, `actor_finished`, …), with
 * `invoke_timeout` when the type says so, and under a plain `createActor`, where there are no other actors.
 */
export function fromAsk<
  TAnswer extends EventObject = EventObject,
  TEvent extends EventObject = EventObject,
>(): PromiseActorLogic<TAnswer, Ask<TEvent>> {
  const logic = fromPromise<TAnswer, Ask<TEvent>>(async ({ input, self, signal }) => {
    if (!workOf(self as unknown as AnyActorRef))
      throw new PerdureError('bad_options', 'fromAsk needs a Perdure node to run in.');
    if (!isAsk(input))
      throw new PerdureError(
        'bad_options',
        'fromAsk is invoked with { to: { type, id }, event: { type, … } }.',
      );
    // The answer is the result of the invoke by itself; what is left to do here is to be there.
    return new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    );
  });
  asking.add(logic);
  return waitsOnly(logic);
}

/** What a child asks that has just been started as `invoke`; undefined when it asks nothing. */
export function questionOf(
  logic: object,
  input: unknown,
  asker: Address,
  invoke: NonNullable<Target['invoke']>,
): { to: Address; event: Asked<EventObject> } | undefined {
  if (!asking.has(logic) || !isAsk(input)) return undefined;
  const { to, event } = input;
  const replyTo = peer({ type: asker.type, id: asker.id, invoke });
  return { to: { type: to.type, id: to.id }, event: { ...event, replyTo } };
}

/**
 * A question nobody will answer, or an answer nobody can read: what whoever asked is told instead. Undefined for any other
 * message.
 */
export function refusedQuestion(
  body: Uint8Array,
  outboxId: string,
  code: ErrorCode,
  detail: string,
): OutboxWrite | undefined {
  try {
    const sent = parse(Buffer.from(body).toString()) as Record<string, unknown>;
    const event = sent.type === FOR ? (sent.event as Record<string, unknown>) : sent;
    const isAnswer = sent.type === FOR && targetOf(sent.to as object)?.invoke !== undefined;
    const isLost = isAnswer && UNREADABLE.has(code) && !(event instanceof Error);
    const asker = targetOf((isLost ? sent.to : event.replyTo) as object);
    if (!asker?.invoke) return undefined;
    const text = stringify(new PerdureError(code, detail), 'error', LIMITS.nestingMax);
    return { messageId: `${outboxId}/refused`, kind: 'send', ...addressed(asker, text) };
  } catch {
    return undefined;
  }
}

/** Whatever becomes of the one who asked, this answer is none. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set(['bad_body', 'body_too_large']);

function isAsk(input: unknown): input is Ask<EventObject> {
  const { to, event } = (input ?? {}) as { to?: Partial<Address>; event?: { type?: unknown } };
  return (
    typeof to?.type === 'string' && typeof to.id === 'string' && typeof event?.type === 'string'
  );
}
