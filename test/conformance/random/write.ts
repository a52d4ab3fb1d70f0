import type { ActionData, CaseData, GuardData, StateData } from './data.ts';
import { type Chance, flat, type Plan, planTree } from './plan.ts';

const EVENTS = ['E.0', 'E.1', 'E.2', 'E.3', 'E.4'] as const;

/** What ends at once may begin anew at once; every edge counts, and this guard ends it. */
const NOT_FOR_EVER: GuardData = { is: [1, 0] };

/** What the machine has besides states, events and guards. */
interface Traits {
  /** Timers may be due at the same moment. Then nothing settles at that moment, too: which comes first is nobody's to say. */
  ties: boolean;
  promises: boolean;
  /** Children that speak by themselves: callbacks, observables. */
  speakers: boolean;
  /**
   * At most one child at a time. A result that waits while its child is left and begun anew counts in XState, as the new one's;
   * and which of two promises settles first is not XState's to say.
   */
  alone: boolean;
  /**
   * What it sends to itself, at once. XState takes that before anything else that is due at the moment; in Perdure each
   * is a commit, what was there already goes first, and what begins only to be left at once does not begin.
   */
  selfSends: boolean;
  /** A child of the whole machine, who can be told from everywhere. */
  sum: boolean;
}

interface Pen extends Traits {
  chance: Chance;
  targets: readonly string[];
  serial: number;
}

/** A case from chance alone: the same chance makes the same case. */
export function writeCase(random: () => number): CaseData {
  const chance: Chance = (below) => Math.floor(random() * below);
  const root = planTree(chance);
  const kind = chance(5);
  const all = flat(root);
  const pen: Pen = {
    chance,
    targets: all.filter((plan) => plan !== root).map(({ id }) => id),
    alone: all.every((plan) => plan.kind !== 'parallel'),
    serial: 0,
    ties: kind === 0,
    promises: kind === 1 || kind === 3,
    speakers: kind === 3 || kind === 4,
    selfSends: kind === 2,
    sum: chance(2) === 0,
  };
  const machine = writeState(root, pen);
  if (pen.sum) {
    machine.invoke = [sum('sum', pen)];
    // What is on its way to a child that is begun anew reaches the new one.
    const { on, after, always, onDone } = machine as Record<string, object | undefined>;
    const edges = [always, onDone, ...Object.values({ ...on, ...after }).flat()] as StateData[];
    for (const written of edges) if (written) delete written.reenter;
  }
  const steps = Array.from({ length: 3 + chance(6) }, () =>
    chance(3) === 0
      ? { advance: pen.ties ? (1 + chance(8)) * 500 : (10 + chance(60)) * 97 }
      : { send: { type: pick(chance, EVENTS), n: chance(5) } },
  );
  return { machine, steps };
}

const pick = <T>(chance: Chance, from: readonly T[]): T => from[chance(from.length)] as T;

const sum = (id: string, { selfSends }: Pen): StateData => ({
  id,
  src: 'sum',
  ...(selfSends && { onSnapshot: { actions: ['hearSum'] } }),
});

function writeState(plan: Plan, pen: Pen): StateData {
  const { chance } = pen;
  const { id, kind } = plan;
  if (kind === 'shallow' || kind === 'deep') return { id, type: 'history', history: kind };
  if (kind === 'final') return { id, type: 'final', entry: ['note'] };
  const state: StateData = { id, entry: actions(pen), exit: actions(pen), on: {} };
  if (chance(3) === 0) state.tags = [`t${chance(4)}`];
  const on = state.on as Record<string, unknown>;
  for (const event of EVENTS) if (chance(3) === 0) on[event] = [edge(pen, true), edge(pen, false)];
  if (chance(6) === 0) on[pen.ties ? '*' : 'E.*'] = edge(pen, true);
  if (chance(4) === 0)
    state.always = {
      ...edge(pen, false),
      guard:
        chance(3) === 0 ? { all: [{ is: [3, chance(3)] }, guard(pen)] } : { is: [7, chance(7)] },
      actions: ['count'],
    };
  if (chance(3) === 0) {
    pen.serial++;
    state.after = { [chance(4) === 0 ? 'own' : delay(pen, 70)]: edge(pen, false) };
  }
  if (kind === 'atomic' && chance(3) === 0) {
    const child = invoke(pen);
    if (child) state.invoke = [child];
    // Only what is not left can be told.
    if (child?.src === 'echo' || child?.src === 'sum')
      on[pick(chance, EVENTS)] = { actions: ['count', { do: 'tell', child: child.id }] };
  }
  if (plan.children.length === 0) return state;
  if (kind === 'parallel') state.type = 'parallel';
  else {
    state.initial = plan.children[0]?.id;
    if (chance(2) === 0) state.onDone = { ...edge(pen, false), guard: NOT_FOR_EVER };
  }
  state.states = Object.fromEntries(
    plan.children.map((child) => [child.id, writeState(child, pen)]),
  );
  return state;
}

function invoke(pen: Pen): StateData | undefined {
  const { chance } = pen;
  const id = `i${pen.serial++}`;
  const over = () => ({ ...edge(pen, false), guard: NOT_FOR_EVER });
  const ends = () => ({ onDone: over(), onError: over() });
  const kinds: (() => StateData)[] = [() => sum(id, pen)];
  if (pen.promises && pen.alone) {
    kinds.push(() => ({ id, src: 'works', ...ends() }));
    kinds.push(() => ({ id, src: 'fails', ...ends() }));
  }
  if (pen.speakers) {
    kinds.push(() => ({ id, src: 'echo', input: { id } }));
    kinds.push(() => ({ id, src: 'ticks', input: { id } }));
  }
  if (pen.speakers && pen.alone)
    kinds.push(() => ({
      id,
      src: 'values',
      onSnapshot: { actions: ['hearValue'] },
      onDone: over(),
    }));
  return chance(4) === 0 && kinds.length === 1 ? undefined : pick(chance, kinds)();
}

/** No two alike, unless they may be due at the same moment. */
function delay({ chance, serial, ties }: Pen, most: number): number {
  return ties ? (1 + chance(6)) * 500 : (5 + chance(most)) * 97 + serial;
}

function edge(pen: Pen, guarded: boolean): StateData {
  const { chance } = pen;
  const written: StateData = { actions: ['count', ...actions(pen)] };
  if (chance(6) > 0) written.target = `#${pick(chance, pen.targets)}`;
  if (chance(5) === 0) written.reenter = true;
  if (guarded) written.guard = guard(pen);
  return written;
}

function guard(pen: Pen, depth = 0): GuardData {
  const { chance } = pen;
  const kind = depth < 2 ? chance(8) : 7;
  const two = () => [guard(pen, depth + 1), guard(pen, depth + 1)];
  if (kind === 0) return { all: two() };
  if (kind === 1) return { any: two() };
  if (kind === 2) return { none: guard(pen, depth + 1) };
  if (kind === 3) return { at: `#${pick(chance, pen.targets)}` };
  return { is: [2 + chance(3), chance(2)] };
}

function actions(pen: Pen): ActionData[] {
  return Array.from({ length: pen.chance(3) }, () => action(pen));
}

function action(pen: Pen): ActionData {
  const { chance } = pen;
  const event = () => pick(chance, EVENTS);
  switch (chance(14)) {
    case 0:
      return 'count';
    case 1:
    case 2:
      return {
        do: chance(2) === 0 ? 'raise' : 'self',
        event: event(),
        id: `d${pen.serial++}`,
        delay: delay(pen, 50),
      };
    case 3:
      return { do: 'cancel', id: `d${chance(pen.serial + 1)}` };
    case 4:
      return { do: 'emit', n: chance(100) };
    case 5:
      return { do: 'raise', event: event() };
    case 6:
      return { do: pen.selfSends ? 'self' : 'raise', event: event() };
    case 7:
      return { do: 'keep', what: pick(chance, ['a', 'b', 'c']) };
    case 8:
      if (!pen.sum) return 'note';
      return chance(2) === 0
        ? { do: 'tell', child: 'sum' }
        : { do: 'tell', child: 'sum', id: `d${pen.serial++}`, delay: delay(pen, 50) };
    default:
      return pick(chance, ['note', 'mark', 'sign']);
  }
}
