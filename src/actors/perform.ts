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
  if (shard.sealed) return performSealed(ring, batch, at);
  let timersUnknown = false;
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
    tell(ring, taken, at, taken === batch.taken[0] ? waitedMs : undefined);
  }
  for (const { subject, body } of batch.replies) ring.bus.broadcast(subject, body);
  for (const run of batch.afterwards) run();
  ring.outbox.relay(batch.outbox);
  if (timersUnknown) void readTimers(ring, shard);
}

/** The shard is being given back: its next owner does what has to be done; only the waiting are told. */
function performSealed(ring: Ring, batch: Batch, at: number | null): void {
  for (const taken of batch.taken) {
    taken.resident.uncommitted--;
    tell(ring, taken, at);
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
  for (const effect of effects)
    if (effect.kind === 'log')
      ring.log.info(
        { actor: resident.key, ...shard.place, seq, label: effect.label },
        String(effect.value),
      );
  const isFirst = seq === 1;
  const others = isFirst ? effects.filter((effect) => !begins(effect)) : effects;
  if (isFirst) runOthers(ring, shard, taken, effects.filter(begins), () => {});
  const acts = effects.filter(isAct);
  const rest = (tell: (told: Tell) => void) => runOthers(ring, shard, taken, others, tell);
  if (acts.length > 0) runActs(ring, shard, resident, seq, acts, rest);
  else rest(() => {});
}

/** A child, and what it is before it has done anything. */
const begins = (effect: Effect): boolean =>
  effect.kind === 'invoke' || (effect.kind === 'due' && effect.begins);

function runOthers(
  ring: Ring,
  shard: Shard,
  taken: Taken,
  effects: readonly Effect[],
  tell: (told: Tell) => void,
): void {
  const { resident, timers, span } = taken;
  for (const effect of effects)
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

/** The live feed: a hint for watchers, complete only for who listens now. */
function tell(ring: Ring, taken: Taken, at: number | null, waitedMs?: number): void {
  const { write, status } = taken;
  const { type, id, seq, eventType, toState } = write;
  const emitted: string[] = [];
  for (const effect of taken.effects) if (effect.kind === 'emit') emitted.push(effect.text);
  const from = write.fromState ?? 'null';
  const waited = waitedMs === undefined ? '' : `,"waited":${Math.round(waitedMs)}`;
  const more = emitted.length > 0 ? `${waited},"emitted":[${emitted}]` : waited;
  const text = `{"type":"${type}","id":"${id}","seq":${seq},"event":${quoted(eventType)},"from":${from},"to":${toState},"status":"${status}","at":${at === null ? 'null' : Math.round(at)},"node":"${ring.nodeId}"${more}}`;
  ring.pulse.told(text);
  // A child machine's is heard where its family is.
  const { id: root } = rootOf(taken.resident.address);
  ring.bus.broadcast(subjects.transition(ring.namespace, type, root), text);
}

/** As JSON; nearly all event types need no escaping, and this runs for every transition. */
const quoted = (text: string): string =>
  /^[\w.-]+$/.test(text) ? `"${text}"` : JSON.stringify(text);

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
