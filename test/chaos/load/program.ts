import { randomFrom } from '../../support/cluster.ts';

/**
 * What a generated actor does, as plain data. `machine.ts` makes a statechart of it, `model.ts` computes what must come
 * out without knowing what a statechart is: where the two disagree about a job, one of the two or the engine is wrong.
 *
 * The result of a program depends on its input and on the gifts it receives, never on when anything happens: regions
 * that run together share no register, and gifts are kept until an op wants them.
 */
export interface Program {
  /** Name of the actor type. */
  name: string;
  ops: Op[];
  /** Gifts a job needs to come to its end. */
  gifts: number;
}

/** `n` is unique in its program. Registers hold whole numbers below `MODULUS`. */
export type Op = { n: number } & (
  | { op: 'compute'; reg: number; from: number; times: number; plus: number }
  | { op: 'note' }
  | { op: 'choose'; reg: number; modulo: number; below: number; yes: Op[]; no: Op[] }
  | { op: 'repeat'; times: number; body: Op[] }
  | { op: 'together'; regions: Op[][]; into: number; of: number[] }
  | { op: 'work'; kind: WorkKind; reg: number; ms: number; failures: number; salt: number }
  /** Work that would never end, left by a timer. */
  | { op: 'abandon'; reg: number; afterMs: number }
  /** `after`; with a spread the delay depends on the register. */
  | { op: 'rest'; reg: number; ms: number; spread: number }
  | { op: 'raise'; reg: number; plus: number; delayMs: number }
  /** Waits for the gifts number `from` up to `to`. */
  | { op: 'receive'; reg: number; from: number; to: number }
  /** Moves money from one purse of the job to the other, and waits until it has arrived. */
  | { op: 'pay'; reg: number; back: boolean; delayMs: number }
);

/** How an invoke behaves: `flaky` fails at first, `doomed` at every attempt, `stuck` until its time is up. */
export type WorkKind = 'work' | 'flaky' | 'doomed' | 'stuck';

/** What a job is started with. */
export interface JobInput {
  regs: number[];
  /** Ids of purses. */
  from: string;
  to: string;
}

/** What a job ends with. */
export interface JobOutput {
  regs: number[];
  /** Sum of the gifts. */
  given: number;
  paid: number;
}

export const MODULUS = 1_000_003;
export const REGISTERS = 6;
export const PURSES = 16;
export const PURSE_START = 1_000_000;
/** Attempts of the kinds of work that are tried again. */
export const ATTEMPTS = { flaky: 4, doomed: 2 };
/** Ceiling of the wait between two attempts, ms. */
export const RETRY_MS = 300;
/** Time for an attempt of what is stuck, ms. */
export const STUCK_MS = 300;

/** The function that work computes, out there. */
export const workResult = (value: number, salt: number): number => (value * 31 + salt) % MODULUS;

/** The same seed gives the same programs in every process. */
export function programsOf(seed: number): Program[] {
  const random = randomFrom(seed ^ 0x70726f67);
  const count = 8 + Math.floor(random() * 5);
  return Array.from({ length: count }, (_, index) =>
    new Generator(random).program(`flow${index}`, index),
  );
}

/** Where an op may stand. */
interface Room {
  /** The registers it may touch. */
  regs: number[];
  depth: number;
  /** Gifts are counted once, so a body that is repeated takes none. */
  repeated: boolean;
}

class Generator {
  readonly #random: () => number;
  #n = 0;
  #gifts = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  program(name: string, index: number): Program {
    const room: Room = {
      regs: Array.from({ length: REGISTERS }, (_, reg) => reg),
      depth: 2,
      repeated: false,
    };
    // Chance alone would leave some kind of op out of some runs.
    const own = SIGNATURES[index % SIGNATURES.length] as Op['op'];
    const kinds = [own, ...Array.from({ length: this.#whole(3, 6) }, () => this.#kind(room))];
    const ops = this.#shuffled(kinds).map((kind) => this.#op(kind, room));
    if (index % 3 === 0) ops.splice(this.#whole(0, ops.length), 0, this.#longWork(room));
    const gifts = this.#gifts + this.#whole(0, 1);
    ops.push({ n: this.#n++, op: 'receive', reg: this.#pick(room.regs), from: 0, to: gifts });
    return { name, ops, gifts };
  }

  #body(room: Room): Op[] {
    const inside = { ...room, depth: room.depth - 1 };
    return Array.from({ length: this.#whole(1, 3) }, () => this.#op(this.#kind(inside), inside));
  }

  #kind({ depth, regs, repeated }: Room): Op['op'] {
    const kinds: Op['op'][] = [...SIMPLE];
    if (depth > 0) kinds.push('choose', 'choose', 'repeat');
    if (depth > 0 && regs.length > 1) kinds.push('together', 'together');
    if (!repeated) kinds.push('receive');
    return this.#pick(kinds);
  }

  #op(op: Op['op'], room: Room): Op {
    const n = this.#n++;
    const reg = this.#pick(room.regs);
    switch (op) {
      case 'compute':
        return {
          n,
          op,
          reg,
          from: this.#pick(room.regs),
          times: this.#whole(2, 97),
          plus: this.#whole(0, 999),
        };
      case 'note':
        return { n, op };
      case 'choose': {
        const modulo = this.#whole(2, 5);
        const below = this.#whole(1, modulo - 1);
        const no = this.#chance(0.3) ? [] : this.#body(room);
        return { n, op, reg, modulo, below, yes: this.#body(room), no };
      }
      case 'repeat':
        return {
          n,
          op,
          times: this.#whole(2, 3),
          body: this.#body({ ...room, depth: 1, repeated: true }),
        };
      case 'together': {
        const regions = Math.min(this.#whole(2, 3), room.regs.length);
        const shares = Array.from({ length: regions }, (_, at) =>
          room.regs.filter((_reg, position) => position % regions === at),
        );
        return {
          n,
          op,
          regions: shares.map((regs) => this.#body({ ...room, regs })),
          into: reg,
          of: shares.map((regs) => regs[0] as number),
        };
      }
      case 'work':
        return this.#work(n, reg);
      case 'abandon':
        return { n, op, reg, afterMs: this.#whole(50, 400) };
      case 'rest': {
        const dynamic = this.#chance(0.5);
        const ms = this.#chance(0.2) ? this.#whole(1_000, 2_000) : this.#whole(20, 400);
        return { n, op, reg, ms, spread: dynamic ? this.#whole(50, 1_000) : 0 };
      }
      case 'raise':
        return {
          n,
          op,
          reg,
          plus: this.#whole(1, 999),
          delayMs: this.#chance(0.5) ? this.#whole(10, 500) : 0,
        };
      case 'receive': {
        const from = this.#gifts;
        this.#gifts += this.#gifts < GIFTS_MAX ? this.#whole(1, 2) : 0;
        return { n, op, reg, from, to: this.#gifts };
      }
      case 'pay':
        return {
          n,
          op,
          reg,
          back: this.#chance(0.3),
          delayMs: this.#chance(0.25) ? this.#whole(20, 400) : 0,
        };
      default:
        return op satisfies never;
    }
  }

  #work(n: number, reg: number): Op {
    const roll = this.#random();
    const kind: WorkKind =
      roll < 0.6 ? 'work' : roll < 0.85 ? 'flaky' : roll < 0.95 ? 'doomed' : 'stuck';
    const ms = this.#chance(0.3) ? 0 : this.#whole(1, kind === 'work' ? 300 : 60);
    const failures = { work: 0, flaky: this.#whole(1, 2), doomed: ATTEMPTS.doomed, stuck: 1 }[kind];
    return { n, op: 'work', kind, reg, ms, failures, salt: this.#whole(0, 9_999) };
  }

  /** For one job in eight, or nothing would ever come to an end. */
  #longWork(room: Room): Op {
    const reg = this.#pick(room.regs);
    const n = this.#n++;
    const yes: Op[] = [
      {
        n: this.#n++,
        op: 'work',
        kind: 'work',
        reg,
        ms: this.#whole(2_000, 8_000),
        failures: 0,
        salt: this.#whole(0, 9_999),
      },
    ];
    return { n, op: 'choose', reg, modulo: 8, below: 1, yes, no: [] };
  }

  #whole(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from + 1));
  }

  #chance(of: number): boolean {
    return this.#random() < of;
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T;
  }

  #shuffled<T>(items: T[]): T[] {
    for (let at = items.length - 1; at > 0; at--) {
      const other = this.#whole(0, at);
      [items[at], items[other]] = [items[other] as T, items[at] as T];
    }
    return items;
  }
}

const GIFTS_MAX = 5;
const SIGNATURES: Op['op'][] = [
  'together',
  'pay',
  'repeat',
  'rest',
  'choose',
  'work',
  'abandon',
  'receive',
  'raise',
];
const SIMPLE: Op['op'][] = [
  'compute',
  'note',
  'work',
  'work',
  'work',
  'rest',
  'rest',
  'raise',
  'pay',
  'pay',
  'abandon',
];
