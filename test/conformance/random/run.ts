import { fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { randomFrom } from '../../support/cluster.ts';
import { check, checkSeed, type Verdict } from './check.ts';
import type { CaseData } from './data.ts';
import { shrink } from './shrink.ts';
import { writeCase } from './write.ts';

// npm run property -- --cases 2000 --seed 7 --jobs 2 --log FILE
// Machines made at random, each from a seed of its own, on several processes. Fails when one differs from plain XState, and
// then makes it small.

const HELP = `npm run property -- [--cases 2000] [--seed N] [--jobs CORES] [--log FILE]`;
const FAILURES_MAX = 5;
const SHRINK_TRIES = 1_000;
const CHUNK = 100;

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '2000' },
    seed: { type: 'string' },
    jobs: { type: 'string', default: `${availableParallelism()}` },
    log: { type: 'string' },
    help: { type: 'boolean', default: false },
    worker: { type: 'boolean', default: false },
  },
});

interface Found {
  seed: number;
  problem: string;
}

/** What a worker tells of a chunk of cases. */
interface Chunk {
  same: number;
  odd: number;
  failures: Found[];
}

async function main(): Promise<void> {
  const cases = Number(values.cases);
  const first = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  const began = performance.now();
  console.log(`${cases} machines from seed ${first}`);
  const { same, odd, failures } = await runAll(first, cases);
  const seconds = Math.round((performance.now() - began) / 1_000);
  say(
    `seeds ${first} to ${first + cases - 1}: ${same} same, ${odd} odd (XState alone), ${failures.length} different, ${seconds} s`,
  );
  for (const { seed, problem } of failures)
    say(`\nnpm run property -- --seed ${seed} --cases 1\n${problem}`);
  if (failures[0]) {
    process.exitCode = 1;
    say(`\nAs small as it gets:\n${await smallest(failures[0])}`);
  }
}

function say(text: string): void {
  console.log(text);
  if (values.log !== undefined) appendFileSync(values.log, `${text}\n`);
}

/** Hands out chunks until all are done, or enough has been found. */
async function runAll(first: number, cases: number): Promise<Chunk> {
  const sum: Chunk = { same: 0, odd: 0, failures: [] };
  let next = 0;
  const one = (): Promise<void> =>
    new Promise((done, fail) => {
      const worker = fork(import.meta.filename, ['--worker']);
      const give = () => {
        if (next >= cases || sum.failures.length >= FAILURES_MAX) return worker.disconnect();
        const count = Math.min(CHUNK, cases - next);
        worker.send({ from: first + next, count });
        next += count;
      };
      worker.on('message', (chunk: Chunk) => {
        sum.same += chunk.same;
        sum.odd += chunk.odd;
        sum.failures.push(...chunk.failures);
        if (values.log !== undefined)
          appendFileSync(values.log, `${sum.same + sum.odd} of ${cases} from seed ${first}\n`);
        give();
      });
      worker.on('exit', (code) =>
        code === 0 ? done() : fail(new Error(`a worker ended: ${code}`)),
      );
      give();
    });
  const jobs = Math.min(Number(values.jobs), Math.ceil(cases / CHUNK));
  await Promise.all(Array.from({ length: jobs }, one));
  return sum;
}

function work(): void {
  process.on('message', async ({ from, count }: { from: number; count: number }) => {
    const chunk: Chunk = { same: 0, odd: 0, failures: [] };
    for (let seed = from; seed < from + count; seed++) {
      const { verdict, problem } = await checkSeed(seed).catch(broken);
      if (verdict === 'different') chunk.failures.push({ seed, problem: problem ?? '' });
      else chunk[verdict]++;
    }
    process.send?.(chunk);
  });
}

const broken = (error: Error): Verdict => ({ verdict: 'different', problem: `${error.stack}` });

async function smallest({ seed, problem }: Found): Promise<string> {
  const random = randomFrom(seed);
  const data = writeCase(random);
  const place = random();
  const kind = kindOf(problem);
  const fails = async (smaller: CaseData) => {
    const { problem: other } = await check(smaller, () => place).catch(broken);
    return other !== undefined && kindOf(other) === kind;
  };
  return JSON.stringify(await shrink(data, fails, SHRINK_TRIES));
}

/** A smaller machine must fail in the same way, not in another. */
const kindOf = (problem: string): string =>
  `${problem.split(':')[0]} ${/heard|emitted|actions|invokes|"error"|Error|after step/.exec(problem)?.[0]}`;

if (values.help) console.log(HELP);
else if (values.worker) work();
else await main();
