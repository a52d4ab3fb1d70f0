import type { AnyActorRef, EventObject } from 'xstate';
import { parse, stringify } from '../../src/actors/codec.ts';
import type { ActorType } from '../../src/actors/define.ts';
import { isAct } from '../../src/actors/effects.ts';
import { rehydrate } from '../../src/actors/envelope.ts';
import { stepAgain, timerEventId } from '../../src/actors/replay.ts';
import { createStepScope } from '../../src/actors/scope.ts';
import { firstStep, type Live, nextStep, type Step } from '../../src/actors/step.ts';
import { LIMITS } from '../../src/config.ts';
import type { Origin, StoredTransition } from '../../src/store/store.ts';

/**
 * One actor, driven through the pure half of the ring by hand: no shard, no servers, a clock of its own. What the
 * shard does with a step's effects is done here in the plainest way, and every transition is kept as its row would be.
 */
export class ActorDriver {
  readonly address: { type: string; id: string };
  readonly history: StoredTransition[] = [];
  /** `src/invokeId` and input of what runs. */
  readonly running = new Map<string, { src: unknown; input: unknown; seq: number }>();
  readonly sent: { to: string; event: unknown }[] = [];
  readonly emitted: unknown[] = [];
  now = 0;
  live: Live;
  step: Step;
  readonly #type: ActorType;
  readonly #rehydrates: boolean;
  readonly #timers = new Map<string, { at: number; seq: number; position: number; text: string }>();
  readonly #scope;
  readonly #toSelf: EventObject[] = [];

  /** `rehydrates`: forgets everything but the row after every transition, as after a crash. */
  constructor(type: ActorType, given: { input?: unknown; rehydrates?: boolean; id?: string } = {}) {
    this.#type = type;
    this.#rehydrates = given.rehydrates ?? false;
    this.address = { type: type.name, id: given.id ?? 'driven' };
    this.#scope = createStepScope(this.address);
    this.#scope.receiver = { receive: (event) => void this.#toSelf.push(event) };
    // What a machine is given has been through the log.
    const text =
      given.input === undefined ? '' : stringify(given.input, 'input', LIMITS.nestingMax);
    const input = text === '' ? undefined : parse(text);
    this.step = firstStep(type, this.address, this.#scope, input, LIMITS);
    this.live = this.step.live;
    this.#record(
      text === '' ? '{"type":"xstate.init"}' : `{"type":"xstate.init","input":${text}}`,
      {
        origin: 'start',
        eventId: 'start',
        from: null,
      },
    );
    this.#settleEffects();
  }

  get snapshot() {
    return this.live.snapshot;
  }

  get status(): string {
    return this.step.status;
  }

  /** What it told its running children. */
  readonly told: { to: string; event: EventObject }[] = [];

  /** Timers that are armed, soonest first. */
  get timers(): string[] {
    return this.#byDeadline().map(([timerId]) => timerId);
  }

  send(event: EventObject, origin: Origin = 'event'): void {
    if (this.status === 'active') this.#next(event, { origin, eventId: `e${this.history.length}` });
  }

  /** Ends what an invoke runs. */
  settle(invokeId: string, outcome: { output: unknown } | { error: unknown }): void {
    if (!this.running.has(invokeId)) return;
    const kind = 'error' in outcome ? 'error' : 'done';
    this.running.delete(invokeId);
    const event = { type: `xstate.${kind}.actor.${invokeId}`, ...outcome, actorId: invokeId };
    this.#next(event, { origin: 'invoke', eventId: null });
  }

  /** Lets time pass; timers fire in the order of their deadlines. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const [first] = this.#byDeadline();
      if (!first || first[1].at > end || this.status !== 'active') break;
      this.now = Math.max(this.now, first[1].at);
      this.#fire(...first);
    }
    this.now = end;
  }

  #byDeadline() {
    return [...this.#timers].sort(
      ([, a], [, b]) => a.at - b.at || a.seq - b.seq || a.position - b.position,
    );
  }

  #fire(timerId: string, { seq, text }: { seq: number; text: string }): void {
    this.#timers.delete(timerId);
    const cause = { origin: 'timer', eventId: timerEventId(timerId, seq), timerId } as const;
    this.#next(parse(text) as EventObject, cause);
  }

  #next(
    event: EventObject,
    cause: { origin: Origin; eventId: string | null; timerId?: string },
  ): void {
    const text = stringify(event, 'event', LIMITS.nestingMax);
    const from = this.step.state;
    const input = { ...cause, event: parse(text) as EventObject };
    if (this.#rehydrates) {
      // A new process would read the row; nothing of the old one is left.
      const { seq, envelope } = this.live;
      this.live = rehydrate(this.#type, this.#scope, seq, envelope);
    }
    this.step = nextStep(this.#type, this.address, this.#scope, this.live, input, LIMITS);
    this.live = this.step.live;
    this.#record(text, { ...cause, from });
    this.#settleEffects();
  }

  #record(
    event: string,
    cause: { origin: Origin; eventId: string | null; from: string | null },
  ): void {
    const { step } = this;
    this.history.push({
      ...this.address,
      seq: step.live.seq,
      eventType: (JSON.parse(event) as { type: string }).type,
      event,
      eventId: cause.eventId,
      origin: cause.origin,
      fromState: cause.from,
      toState: step.state,
      edges: step.edges,
      actions: step.effects.filter(isAct).length,
      snapshot: step.envelope,
      epoch: 1,
      nodeId: 'driver',
      at: this.now,
    });
  }

  #settleEffects(): void {
    const { step } = this;
    const { seq } = step.live;
    for (const timerId of step.timersDropped) this.#timers.delete(timerId);
    for (const { timerId, delayMs, position, event: text } of step.timersArmed)
      this.#timers.set(timerId, { at: this.now + delayMs, seq, position, text });
    for (const { to, body } of step.messages)
      this.sent.push({ to: `${to.type}/${to.id}`, event: JSON.parse(body) });
    for (const effect of step.effects)
      switch (effect.kind) {
        case 'action':
          effect.run();
          break;
        case 'invoke': {
          const child = effect.child as AnyActorRef & { src: unknown };
          const { input } = child.getSnapshot() as { input?: unknown };
          this.running.set(effect.invokeId, { src: child.src, input, seq });
          break;
        }
        case 'stop':
          if (this.running.get(effect.invokeId)?.seq === effect.seq)
            this.running.delete(effect.invokeId);
          break;
        case 'emit':
          this.emitted.push(effect.event);
          break;
        case 'tell':
          this.told.push({ to: effect.invokeId, event: effect.event });
          break;
        case 'due':
        case 'log':
          break;
        default:
          effect satisfies never;
      }
    // What is due at once comes before anything else that happens.
    this.advance(0);
    for (let event = this.#toSelf.shift(); event; event = this.#toSelf.shift())
      this.send(event, 'self');
  }

  /** Computes every transition again from the row before it, and says which differ. */
  replayDifferences(): string[] {
    const found: string[] = [];
    const scope = createStepScope(this.address);
    for (const [index, row] of this.history.entries()) {
      const previous = this.history[index - 1]?.snapshot;
      const again = stepAgain(this.#type, scope, row, previous, LIMITS);
      if (again.envelope !== row.snapshot)
        found.push(`#${row.seq}: stored ${row.snapshot}, computed ${again.envelope}`);
      if (again.edges !== row.edges) found.push(`#${row.seq}: edges`);
      const actions = again.effects.filter(isAct).length;
      if (actions !== row.actions) found.push(`#${row.seq}: ${actions} actions`);
    }
    return found;
  }
}

/** What two runs of one machine must agree on, whatever drives them. */
export function visible(snapshot: {
  status: string;
  value: unknown;
  context: unknown;
  output?: unknown;
  tags: Set<string>;
}) {
  const { status, value, context, output, tags } = snapshot;
  // A reference to a child writes itself as its id.
  return {
    status,
    value,
    output,
    tags: [...tags].sort(),
    context: JSON.parse(JSON.stringify(context)),
  };
}
