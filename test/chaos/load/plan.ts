import { fnv1a } from '../../../src/bus/subjects.ts';
import { randomFrom } from '../../support/cluster.ts';
import { type JobInput, MODULUS, type Program, PURSES, REGISTERS } from './program.ts';

/** One job and what is sent to it, and a tally for a purse beside it. The same seed and number make the same. */
export interface JobPlan {
  type: string;
  id: string;
  input: JobInput;
  /** The publisher waits until the start is committed. */
  committed: boolean;
  /** Publishes the start a second time under the same message id. */
  again: boolean;
  gifts: GiftPlan[];
  tally: { purse: string; amount: number } | undefined;
}

interface GiftPlan {
  amount: number;
  /** After the publish before it, ms. */
  afterMs: number;
  committed: boolean;
  again: boolean;
}

/** Every part of the load that is this likely is published with `until: 'committed'`, or twice. */
const COMMITTED = 0.15;
const AGAIN = 0.1;

export function planJob(seed: number, programs: readonly Program[], n: number): JobPlan {
  const random = randomFrom(fnv1a(`${seed}/${n}`));
  const whole = (below: number) => Math.floor(random() * below);
  const program = programs[whole(programs.length)] as Program;
  const from = whole(PURSES);
  return {
    type: program.name,
    id: `j${n}`,
    input: {
      regs: Array.from({ length: REGISTERS }, () => whole(MODULUS)),
      from: `p${from}`,
      to: `p${(from + 1 + whole(PURSES - 1)) % PURSES}`,
    },
    committed: random() < COMMITTED,
    again: random() < AGAIN,
    gifts: Array.from({ length: program.gifts }, () => ({
      amount: whole(1_000),
      afterMs: random() < 0.3 ? 0 : whole(1_500),
      committed: random() < COMMITTED,
      again: random() < AGAIN,
    })),
    tally: random() < 0.7 ? { purse: `p${whole(PURSES)}`, amount: whole(MODULUS) } : undefined,
  };
}
