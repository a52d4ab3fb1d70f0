import { type AnyStateMachine, assign, cancel, emit, fromPromise, raise, setup } from 'xstate';
import type { Case, CaseStep } from './case.ts';

type Random = () => number;

const EVENTS = ['E0', 'E1', 'E2', 'E3', 'E4'] as const;
const DEPTH_MAX = 4;
const STATES_MAX = 14;
/** What counts stops here, so that no `always` can go on for ever. */
const COUNT_MAX = 40;

/** What ends at once may begin anew at once; every edge counts. */
const NOT_FOR_EVER = { type: 'is', params: { of: 1, rest: 0 } };

interface Plan {
  id: string;
  kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'shallow' | 'deep';
  children: Plan[];
}

/** A case from chance alone: the same chance makes the same case. */
export function randomCase(name: string, random: Random): Case {
  const whole = (below: number) => Math.floor(random() * below);
  const root = planTree(whole);
  const all = flat(root);
  const targets = all.filter((plan) => plan !== root).map(({ id }) => id);
  // Written once, so that every run of the case gets the same machine.
  const config = write(root, {
    whole,
    targets,
    serial: 0,
    mayInvoke: all.every(({ kind }) => kind !== 'parallel'),
  });
  return {
    name,
    machine: () => build(config),
    steps: Array.from(
      { length: 3 + whole(6) },
      (): CaseStep =>
        whole(3) === 0
          ? { advance: (10 + whole(60)) * 97 }
          : { send: { type: EVENTS[whole(EVENTS.length)] as string, n: whole(5) } },
    ),
  };
}

function planTree(whole: (below: number) => number): Plan {
  let left = STATES_MAX;
  let serial = 0;
  const plan = (depth: number, mayEnd: boolean): Plan => {
    left--;
    const id = `s${serial++}`;
    const room = depth < DEPTH_MAX && left > 2;
    const pick = whole(10);
    if (depth > 0 && mayEnd && pick === 9) return { id, kind: 'final', children: [] };
    if (depth > 0 && (!room || pick < 5)) return { id, kind: 'atomic', children: [] };
    const kind = pick === 8 ? 'parallel' : 'compound';
    const count = 2 + whole(2);
    const children = Array.from({ length: count }, (_, n) =>
      plan(depth + 1, kind === 'compound' && n > 0),
    );
    if (whole(3) === 0)
      children.push({
        id: `s${serial++}`,
        kind: whole(2) === 0 ? 'shallow' : 'deep',
        children: [],
      });
    return { id, kind, children };
  };
  return plan(0, false);
}

const flat = (plan: Plan): Plan[] => [plan, ...plan.children.flatMap(flat)];

interface Pen {
  whole: (below: number) => number;
  targets: readonly string[];
  serial: number;
  mayInvoke: boolean;
}

type Written = Record<string, unknown>;

function write(plan: Plan, pen: Pen): Written {
  const { whole } = pen;
  const { id, kind } = plan;
  if (kind === 'shallow' || kind === 'deep') return { id, type: 'history', history: kind };
  if (kind === 'final') return { id, type: 'final', entry: ['note'] };
  const state: Written = { id, entry: someActions(pen), exit: someActions(pen), on: {} };
  const on = state.on as Record<string, unknown>;
  for (const event of EVENTS) if (whole(3) === 0) on[event] = [edge(pen, true), edge(pen, false)];
  if (whole(6) === 0) on['*'] = edge(pen, true);
  if (whole(4) === 0)
    state.always = {
      guard: { type: 'is', params: { of: 7, rest: whole(7) } },
      ...edge(pen, false),
      actions: ['count'],
    };
  if (whole(3) === 0) {
    pen.serial++;
    state.after = { [delay(pen, 70)]: edge(pen, false) };
  }
  // One at a time: which of two promises settles first is not XState's to say.
  if (pen.mayInvoke && kind === 'atomic' && whole(3) === 0)
    state.invoke = {
      id: `i${pen.serial++}`,
      src: whole(3) === 0 ? 'fails' : 'works',
      onDone: { ...edge(pen, false), guard: NOT_FOR_EVER },
      onError: { ...edge(pen, false), guard: NOT_FOR_EVER },
    };
  if (plan.children.length > 0) {
    if (kind === 'parallel') state.type = 'parallel';
    else {
      state.initial = plan.children[0]?.id;
      if (whole(2) === 0) state.onDone = { ...edge(pen, false), guard: NOT_FOR_EVER };
    }
    state.states = Object.fromEntries(plan.children.map((child) => [child.id, write(child, pen)]));
  }
  return state;
}

/** No two alike: which of two that are due at the same moment fires first is not XState's to say. */
const delay = ({ whole, serial }: Pen, most: number): number => (5 + whole(most)) * 97 + serial;

function edge(pen: Pen, guarded: boolean): Written {
  const { whole, targets } = pen;
  const written: Written = { actions: ['count', ...someActions(pen)] };
  if (whole(6) > 0) written.target = `#${targets[whole(targets.length)]}`;
  if (whole(5) === 0) written.reenter = true;
  if (guarded) written.guard = { type: 'is', params: { of: 2 + whole(3), rest: whole(2) } };
  return written;
}

function someActions(pen: Pen): unknown[] {
  const { whole } = pen;
  return Array.from({ length: whole(3) }, () => {
    switch (whole(9)) {
      case 0:
        return ['count'];
      case 1: {
        const id = `d${pen.serial++}`;
        const event = { type: EVENTS[whole(EVENTS.length)] as string };
        // A delay whose id is waiting already is told apart in differences.test.ts.
        return [cancel(id), raise(event, { id, delay: delay(pen, 50) })];
      }
      case 2:
        return [cancel(`d${whole(pen.serial + 1)}`)];
      case 3:
        return [emit({ type: 'told', n: whole(100) })];
      default:
        return [['note', 'mark', 'sign'][whole(3)]];
    }
  }).flat();
}

function build(config: Written): AnyStateMachine {
  const note = () => {};
  return setup({
    types: {
      /** How often something happened. */
      context: {} as { n: number },
      events: {} as { type: string; n?: number; output?: unknown },
      emitted: {} as { type: 'told'; n: number },
    },
    actors: {
      works: fromPromise(async () => 'done'),
      fails: fromPromise(async () => {
        throw new Error('refused');
      }),
    },
    guards: {
      is: ({ context }, { of, rest }: { of: number; rest: number }) =>
        context.n < COUNT_MAX && context.n % of === rest,
    },
    actions: {
      note,
      mark: note,
      sign: note,
      count: assign({ n: ({ context }) => Math.min(context.n + 1, COUNT_MAX) }),
    },
  }).createMachine({ context: { n: 0 }, ...config } as never) as never;
}
