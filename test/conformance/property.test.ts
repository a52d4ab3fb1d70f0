import { expect, test } from 'vitest';
import { defineActor } from '../../src/index.ts';
import { type CrashPoint, testCluster } from '../../src/testing/index.ts';
import { randomFrom } from '../support/cluster.ts';
import { seed } from '../support/services.ts';
import type { Case, Trace } from './support/case.ts';
import { runPlain } from './support/plain.ts';
import { randomCase } from './support/randomMachine.ts';
import { runOn, withoutLoss } from './support/run.ts';

// Machines, events and crashes by chance; XState alone says what should come of it: `npm run property`, with
// PERDURE_TEST_CASES=100000 for more. Not part of `npm test` yet: about one machine in 200 is still otherwise, where several
// things are due at one moment.

const CASES = Number(process.env.PERDURE_TEST_CASES ?? 2_000);

test(
  `${CASES} machines made at random do what they do under XState, also where a node dies`,
  async () => {
    const first = seed();
    const failures: string[] = [];
    for (let n = 0; n < CASES && failures.length < 5; n++) {
      const random = randomFrom(first + n);
      const given = randomCase(`seed ${first + n}`, random);
      try {
        await check(given, random);
      } catch (error) {
        failures.push(
          `PERDURE_TEST_SEED=${first + n}: ${(error as Error).message.slice(0, 2_000)}`,
        );
      }
    }
    expect(failures.join('\n\n')).toBe('');
  },
  Math.max(120_000, CASES * 60),
);

interface Effects {
  actions: string[];
  invokes: string[];
}

const isInvoke = (effect: string) => effect.startsWith('invoke ');

async function check(given: Case, random: () => number): Promise<void> {
  const plain = await runPlain(given);
  const type = defineActor('case', { machine: given.machine() });
  const run = async (
    options: { crash?: CrashPoint; passivate?: 'every-commit' },
    told: string,
  ): Promise<CrashPoint[]> => {
    const cluster = await testCluster({ actors: [type], ...options });
    try {
      const trace: Partial<Trace> = await runOn(cluster, type, given);
      const { crash } = options;
      const seen = crash ? withoutLoss(trace, plain, crash) : trace;
      for (const part of ['views', 'emitted'] as const)
        expect(seen[part], `${told}: ${part}`).toEqual(plain[part]);
      const [did, wanted] = [seen.effects ?? [], plain.effects].map((all) => ({
        actions: all.filter((effect) => !isInvoke(effect)),
        invokes: all.filter(isInvoke),
      })) as [Effects, Effects];
      expect(did.actions.join(), `${told}: actions`).toBe(wanted.actions.join());
      // What a step begins and the next one, in the same commit, has left again does not begin.
      expect(did.invokes.length, `${told}: invokes`).toBeLessThanOrEqual(wanted.invokes.length);
      return cluster.crashPoints;
    } finally {
      await cluster.stop();
    }
  };
  const points = await run({}, 'without a crash');
  await run({ passivate: 'every-commit' }, 'out of memory after every commit');
  const crash = points[Math.floor(random() * points.length)];
  if (crash) await run({ crash }, `node dies ${JSON.stringify(crash)}`);
}
