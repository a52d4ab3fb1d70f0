import {
  type JobInput,
  type JobOutput,
  MODULUS,
  type Op,
  type Program,
  workResult,
} from './program.ts';

/** What a job must do and end with. */
export interface Expectation {
  /** False when the gifts do not suffice: the job waits for more. */
  finished: boolean;
  output: JobOutput;
  /** Events it takes. */
  gifts: number;
  /** Invokes whose result is taken. */
  settled: number;
  /** Timers that fire. */
  timers: number;
  payments: { from: string; to: string; amount: number }[];
}

/** Runs a program by hand: an interpreter of its ops that knows neither XState nor the engine. */
export function expectationOf(
  program: Program,
  input: JobInput,
  gifts: readonly number[],
): Expectation {
  const regs = [...input.regs];
  const payments: Expectation['payments'] = [];
  let settled = 0;
  let timers = 0;
  let finished = true;

  const at = (reg: number) => regs[reg] as number;
  const put = (reg: number, value: number) => {
    regs[reg] = value % MODULUS;
  };

  function run(ops: readonly Op[]): void {
    for (const op of ops) if (finished) step(op);
  }

  function step(op: Op): void {
    switch (op.op) {
      case 'compute':
        return put(op.reg, at(op.reg) * op.times + at(op.from) + op.plus);
      case 'note':
        return;
      case 'choose':
        return run(at(op.reg) % op.modulo < op.below ? op.yes : op.no);
      case 'repeat':
        for (let round = 0; round < op.times; round++) run(op.body);
        return;
      case 'together': {
        // One after the other is as good as together: they share nothing.
        for (const region of op.regions) run(region);
        let sum = at(op.into);
        for (const reg of op.of) sum += at(reg);
        return put(op.into, sum);
      }
      case 'work':
        settled++;
        if (op.kind === 'doomed' || op.kind === 'stuck') return put(op.reg, at(op.reg) + op.salt);
        return put(op.reg, workResult(at(op.reg), op.salt));
      case 'abandon':
        timers++;
        return put(op.reg, at(op.reg) + 1);
      case 'rest':
        timers++;
        return put(op.reg, at(op.reg) + 3);
      case 'raise':
        if (op.delayMs > 0) timers++;
        return put(op.reg, at(op.reg) + op.plus);
      case 'receive': {
        if (gifts.length < op.to) {
          finished = false;
          return;
        }
        let sum = at(op.reg);
        for (let index = op.from; index < op.to; index++) sum += gifts[index] as number;
        return put(op.reg, sum);
      }
      case 'pay': {
        if (op.delayMs > 0) timers++;
        const amount = 1 + (at(op.reg) % 50);
        const [from, to] = op.back ? [input.to, input.from] : [input.from, input.to];
        payments.push({ from, to, amount });
        return put(op.reg, at(op.reg) * 3 + amount);
      }
      default:
        op satisfies never;
    }
  }

  run(program.ops);
  const total = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0);
  const paid = total(payments.map(({ amount }) => amount));
  return {
    finished,
    output: { regs, given: total(gifts), paid },
    gifts: gifts.length,
    settled,
    timers,
    payments,
  };
}

/** What a purse keeps of the tallies it was sent, in their order. */
export const tallyOf = (amounts: readonly number[]): number =>
  amounts.reduce((tally, amount) => (tally * 31 + amount) % MODULUS, 0);
