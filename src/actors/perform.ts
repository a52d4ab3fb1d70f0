import { subjects } from '../bus/subjects.ts';
import { asError, PerdureError } from '../errors.ts';
import { endAttempt, startAttempt } from './attempts.ts';
import type { Batch, Taken } from './batch.ts';
import { type Act, type Effect, idempotencyKey, isAct } from './effects.ts';
import { rootOf } from './kin.ts';
import type { Resident } from './resident.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import { systemIds } from './step.ts';

/**
 * Everything a landed batch causes, in the order of its steps (G3). `at` is the commit's time on the database clock;
 * null when the answer was lost, then the deadlines are read back. `waitedMs` is told with the first step: one measure for
 * each commit is enough to see how long messages take.
 */
export function perform(
  ring: Ring,
  shard: Shard,
  batch: Batch,
  at: number | null,
  waitedMs?: number,
): void {
  if (waitedMs !== undefined) ring.pulse.waited(waitedMs);
  if (shard.sealed || shard.closed) return tellOnly(ring, batch, at);
  let timersUnknown = false;
  const when = whenText(ring, at);
  for (const taken of batch.taken) {
    taken.resident.uncommitted--;
    if (taken.span) taken.span.within(() => runEffects(ring, shard, taken));
    else runEffects(ring, shard, taken);
    for (const timer of taken.timers) {
      const { delayMs } = timer;
      if (delayMs === 0) continue;
      if (at === null) timersUnknown = true;
      else if (delayMs <= ring.limits.timerHorizonMs)
        ring.timers.add({ ...timer, shard: shard.number, fireAt: at + delayMs });
    }
    tell(ring, taken, when, taken === batch.taken[0] ? waitedMs : undefined);
  }
  for (const { subject, body } of batch.replies) ring.bus.broadcast(subject, body);
  for (const run of batch.afterwards) run();
  ring.outbox.relay(batch.outbox);
  if (timersUnknown) void readTimers(ring, shard);
}

/** Whoever opens the shard next does what has to be done; only the waiting are told. */
function tellOnly(ring: Ring, batch: Batch, at: number | null): void {
  const when = whenText(ring, at);
  for (const taken of batch.taken) {
    taken.resident.uncommitted--;
    tell(ring, taken, when);
  }
  for (const { subject, body } of batch.replies) ring.bus.broadcast(subject, body);
}

type Tell = Extract<Effect, { kind: 'tell' }>;

/**
 * Does what has to be acknowledged of one transition: its custom actions first, as XState does, then what `rest` makes
 * of it. The acknowledgement goes through the mailbox behind what the actions sent.
 */
export function runActs(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  seq: number,
  acts: readonly Act[],
  rest: (tell: (told: Tell) => void) => void,
): void {
  const { address } = resident;
  const fail = (type: string) => (thrown: unknown) => {
    const error = asError(thrown);
    ring.log.error(
      { actor: resident.key, ...shard.place, seq, action: type, error: error.stack },
      'action: failed',
    );
    const told = new PerdureError('action_failed', `Action ${type} failed: ${error.message}`);
    shard.post({ kind: 'failed', address, error: told });
  };
  const running: PromiseLike<unknown>[] = [];
  const { live, scope, head } = resident;
  if (live && head.live) scope.enter(systemIds(head.live.snapshot), live.snapshot);
  const actions = acts.filter((act) => act.kind === 'action');
  actions.forEach(({ type, run }, index) => {
    resident.acting = { seq, index, sent: 0 };
    try {
      const result = ring.witness ? ring.witness({ address, seq, index, type }, run) : run();
      if (isThenable(result)) running.push(result.then(undefined, fail(type)));
    } catch (thrown) {
      fail(type)(thrown);
    } finally {
      resident.acting = undefined;
    }
  });
  rest(({ invokeId, seq: startedBy, event }) => {
    const running = resident.invocations.get(invokeId);
    if (running?.key === idempotencyKey(address, invokeId, startedBy)) running.tell(event);
  });
  const acted = () => shard.post({ kind: 'acted', address, seq });
  if (running.length === 0) acted();
  else void Promise.all(running).then(acted);
}

/**
 * In XState's order: what the actions do, then what begins, hears, ends or is for the actor itself; at the very beginning
 * children begin before anything is done.
 */
function runEffects(ring: Ring, shard: Shard, taken: Taken): void {
  const { resident, effects } = taken;
  if (effects.length === 0) return;
  const { seq } = taken.write;
  let acts: Act[] | undefined;
  for (const effect of effects)
    if (isAct(effect)) {
      acts ??= [];
      acts.push(effect);
    } else if (effect.kind === 'log')
      ring.log.info(
        { actor: resident.key, ...shard.place, seq, label: effect.label },
        String(effect.value),
      );
  const isFirst = seq === 1;
  if (isFirst) runOthers(ring, shard, taken, begins, toNobody);
  const which = isFirst ? isLater : isAny;
  if (!acts) return runOthers(ring, shard, taken, which, toNobody);
  const rest = (tell: (told: Tell) => void) => runOthers(ring, shard, taken, which, tell);
  runActs(ring, shard, resident, seq, acts, rest);
}

/** A child, and what it is before it has done anything. */
const begins = (effect: Effect): boolean =>
  effect.kind === 'invoke' || (effect.kind === 'due' && effect.begins);
const isLater = (effect: Effect): boolean => !begins(effect);
const isAny = (): boolean => true;
const toNobody = (): void => {};

function runOthers(
  ring: Ring,
  shard: Shard,
  taken: Taken,
  which: (effect: Effect) => boolean,
  tell: (told: Tell) => void,
): void {
  const { resident, effects, timers, span } = taken;
  for (const effect of effects) {
    if (!which(effect)) continue;
    switch (effect.kind) {
      case 'invoke':
        begin(ring, shard, resident, effect, span?.trace);
        break;
      case 'tell':
        tell(effect);
        break;
      case 'stop':
        endAttempt(ring, resident, effect.invokeId, true);
        break;
      case 'due': {
        const { address } = resident;
        const timer = timers.find(({ timerId }) => timerId === effect.timerId);
        if (timer?.delayMs === 0) shard.post({ kind: 'timer', address, ...timer });
        break;
      }
      case 'action':
      case 'emit':
      case 'log':
        break;
      default:
        effect satisfies never;
    }
  }
}

/** Skipped when a newer step, already taken, has left the state again. */
function begin(
  ring: Ring,
  shard: Shard,
  resident: Resident,
  { invokeId, seq }: Extract<Effect, { kind: 'invoke' }>,
  trace: string | undefined,
): void {
  if (resident.live?.started[invokeId] === seq)
    startAttempt(ring, shard, resident, invokeId, 1, 0, trace);
}

/** What the feed says of all transitions of a commit. */
const whenText = (ring: Ring, at: number | null): string =>
  `","at":${at === null ? 'null' : Math.round(at)},"node":"${ring.nodeId}"`;

/** The live feed: a hint for watchers, complete only for who listens now. The text is made of few pieces: each is an object. */
function tell(ring: Ring, taken: Taken, when: string, waitedMs?: number): void {
  const { write, status } = taken;
  const { type, id, seq, toState } = write;
  let emitted: string[] | undefined;
  for (const effect of taken.effects)
    if (effect.kind === 'emit') {
      emitted ??= [];
      emitted.push(effect.text);
    }
  let end = '}';
  if (emitted) end = `,"emitted":[${emitted}]}`;
  if (waitedMs !== undefined) end = `,"waited":${Math.round(waitedMs)}${end}`;
  const event = inQuotes(write.eventType);
  const text = `{"type":"${type}","id":"${id}","seq":${seq},"event":"${event}","from":${write.fromState},"to":${toState},"status":"${status}${when}${end}`;
  ring.pulse.told(text);
  // A child machine's is heard where its family is.
  const { id: root } = rootOf(taken.resident.address);
  ring.bus.broadcast(subjects.transition(ring.namespace, type, root), text);
}

/** As it stands in JSON between the quotes; nearly all event types need no escaping, and this runs for every transition. */
const inQuotes = (text: string): string =>
  /^[\w.-]+$/.test(text) ? text : JSON.stringify(text).slice(1, -1);

async function readTimers(ring: Ring, shard: Shard): Promise<void> {
  const near = await ring.store.nearTimers([shard.number], ring.limits.timerHorizonMs);
  ring.timers.observe(near.at);
  if (!shard.closed) for (const timer of near.timers) ring.timers.add(timer);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as PromiseLike<unknown>).then === 'function'
  );
}
