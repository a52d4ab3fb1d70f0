import { type AnyStateMachine, assign, raise, sendTo, setup } from 'xstate';
import { type ActorType, actorAddress, defineActor } from '../../../src/index.ts';
import { write } from '../../support/actorsJournal.ts';
import {
  ATTEMPTS,
  type JobInput,
  type JobOutput,
  MODULUS,
  type Op,
  type Program,
  programsOf,
  RETRY_MS,
  STUCK_MS,
} from './program.ts';
import { type Find, purse } from './purse.ts';
import { type WorkInput, work } from './work.ts';

interface FlowContext {
  regs: number[];
  /** Rounds of each `repeat`, by op. */
  rounds: Record<string, number>;
  gifts: number[];
  paid: number;
  from: string;
  to: string;
}

interface Args {
  context: FlowContext;
  event: { type: string; [field: string]: unknown };
  self: { id: string };
}

/** XState infers types from configs that are written down; these are made, so it is told to look away. */
type State = Record<string, unknown>;

/** The actor types a seed stands for: the flows and the purse they pay from. */
export function actorTypes(seed: number): ActorType[] {
  return [purse, ...programsOf(seed).map(flowType)];
}

function flowType(program: Program): ActorType {
  return defineActor(program.name, {
    machine: flowMachine(program, actorAddress),
    retry: {
      flaky: { attempts: ATTEMPTS.flaky, delayMs: RETRY_MS, maxDelayMs: RETRY_MS },
      doomed: { attempts: ATTEMPTS.doomed, delayMs: RETRY_MS, maxDelayMs: RETRY_MS },
    },
    timeout: { stuck: STUCK_MS },
  });
}

/** The statechart of a program. */
export function flowMachine(program: Program, find: Find): AnyStateMachine {
  const delays: Record<string, (args: Args) => number> = {};
  const config = {
    context: ({ input }: { input: JobInput }): FlowContext => ({
      ...input,
      rounds: {},
      gifts: [],
      paid: 0,
    }),
    // A gift is kept wherever the job stands, and looked at when an op wants it.
    on: {
      GIVE: {
        actions: assign(({ context, event }: Args) => ({
          gifts: [...context.gifts, event.amount as number],
        })),
      },
    },
    ...sequence(program.ops, { flow: program.name, find, delays }),
    output: ({ context }: Args): JobOutput => ({
      regs: context.regs,
      given: context.gifts.reduce((sum, gift) => sum + gift, 0),
      paid: context.paid,
    }),
  };
  return setup({
    actors: { work, flaky: work, doomed: work, stuck: work, endless: work },
    actions: {
      note: ({ self }, { n, regs }: { n: number; regs: number[] }) =>
        write({ kind: 'action', at: Date.now(), actor: self.id, n, regs }),
    },
    delays: delays as never,
  }).createMachine(config as never) as unknown as AnyStateMachine;
}

interface Build {
  flow: string;
  find: Find;
  /** Delays by name, filled while the states are made. */
  delays: Record<string, (args: Args) => number>;
}

/** One state for each op, and a final one. */
function sequence(ops: readonly Op[], build: Build): State {
  const states: Record<string, State> = {};
  ops.forEach((op, index) => {
    states[`s${index}`] = stateOf(op, `s${index + 1}`, build);
  });
  states[`s${ops.length}`] = { type: 'final' };
  return { initial: 's0', states };
}

function stateOf(op: Op, target: string, build: Build): State {
  switch (op.op) {
    case 'compute':
      return {
        always: {
          target,
          actions: put(op.reg, (old, { context }) => {
            return old * op.times + register(context, op.from) + op.plus;
          }),
        },
      };
    case 'note':
      return {
        entry: { type: 'note', params: ({ context }: Args) => ({ n: op.n, regs: context.regs }) },
        always: target,
      };
    case 'choose':
      return {
        initial: 'pick',
        states: {
          pick: {
            always: [
              {
                guard: ({ context }: Args) => register(context, op.reg) % op.modulo < op.below,
                target: 'yes',
              },
              { target: 'no' },
            ],
          },
          yes: { ...sequence(op.yes, build), onDone: 'over' },
          no: { ...sequence(op.no, build), onDone: 'over' },
          over: { type: 'final' },
        },
        onDone: target,
      };
    case 'repeat':
      return repeat(op, target, build);
    case 'together': {
      const regions = op.regions.map((ops, index) => [`r${index}`, sequence(ops, build)]);
      const sum = put(op.into, (old, { context }) =>
        op.of.reduce((total, reg) => total + register(context, reg), old),
      );
      return {
        type: 'parallel',
        states: Object.fromEntries(regions),
        onDone: { target, actions: sum },
      };
    }
    case 'work': {
      const { n, reg, failures, salt } = op;
      return {
        invoke: {
          id: `w${n}`,
          src: op.kind,
          input: ({ context }: Args): WorkInput => ({
            n,
            ms: op.kind === 'stuck' ? null : op.ms,
            failures,
            value: register(context, reg),
            salt,
          }),
          onDone: { target, actions: put(reg, (_, { event }) => event.output as number) },
          onError: { target, actions: put(reg, (old) => old + salt) },
        },
      };
    }
    case 'abandon':
      return {
        invoke: {
          id: `w${op.n}`,
          src: 'endless',
          input: { n: op.n, ms: null, failures: 0, value: 0, salt: 0 } satisfies WorkInput,
        },
        after: { [op.afterMs]: { target, actions: put(op.reg, (old) => old + 1) } },
      };
    case 'rest': {
      const name = `d${op.n}`;
      const { ms, spread, reg } = op;
      if (spread > 0) build.delays[name] = ({ context }) => ms + (register(context, reg) % spread);
      return {
        after: { [spread > 0 ? name : ms]: { target, actions: put(reg, (old) => old + 3) } },
      };
    }
    case 'raise': {
      const type = `R${op.n}`;
      const later = op.delayMs > 0 ? { delay: op.delayMs, id: `r${op.n}` } : {};
      return {
        entry: raise({ type }, later),
        on: { [type]: { target, actions: put(op.reg, (old) => old + op.plus) } },
      };
    }
    case 'receive':
      return {
        always: {
          guard: ({ context }: Args) => context.gifts.length >= op.to,
          target,
          actions: put(op.reg, (old, { context }) =>
            context.gifts.slice(op.from, op.to).reduce((sum, gift) => sum + gift, old),
          ),
        },
      };
    case 'pay':
      return pay(op, target, build);
    default:
      return op satisfies never;
  }
}

function repeat({ n, times, body }: OpOf<'repeat'>, target: string, build: Build): State {
  const rounds = (change: (old: number) => number) =>
    assign(({ context }: Args) => ({
      rounds: { ...context.rounds, [n]: change(context.rounds[n] ?? 0) },
    }));
  return {
    entry: rounds(() => 0),
    initial: 'check',
    states: {
      check: {
        always: [
          {
            guard: ({ context }: Args) => (context.rounds[n] ?? 0) < times,
            target: 'body',
            actions: rounds((old) => old + 1),
          },
          { target: 'over' },
        ],
      },
      body: { ...sequence(body, build), onDone: 'check' },
      over: { type: 'final' },
    },
    onDone: target,
  };
}

function pay({ n, reg, back, delayMs }: OpOf<'pay'>, target: string, build: Build): State {
  const { find, flow } = build;
  return {
    entry: sendTo(
      ({ context }: Args) => find('purse', back ? context.to : context.from),
      ({ context, self }: Args) => ({
        type: 'PAY',
        amount: 1 + (register(context, reg) % 50),
        to: back ? context.from : context.to,
        flow,
        job: self.id,
        n,
      }),
      delayMs > 0 ? { delay: delayMs, id: `p${n}` } : {},
    ),
    on: {
      MOVED: {
        guard: ({ event }: Args) => event.n === n,
        target,
        actions: [
          assign(({ context, event }: Args) => ({
            paid: context.paid + (event.amount as number),
          })),
          put(reg, (old, { event }) => old * 3 + (event.amount as number)),
        ],
      },
    },
  };
}

type OpOf<K extends Op['op']> = Extract<Op, { op: K }>;

const register = (context: FlowContext, reg: number): number => context.regs[reg] as number;

const put = (reg: number, next: (old: number, args: Args) => number) =>
  assign((args: Args) => ({
    regs: args.context.regs.with(reg, next(register(args.context, reg), args) % MODULUS),
  }));
