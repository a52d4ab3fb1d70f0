import { describe, expect, test } from 'vitest';
import { defineActor } from '../../../src/index.ts';
import { forEachCrash, type TestClusterOptions, testCluster } from '../../../src/testing/index.ts';
import { type Case, type Trace, WAYS } from './case.ts';
import { runPlain } from './plain.ts';
import { runOn, withoutLoss } from './run.ts';

/** Each case in all `WAYS`: under XState alone twice, since what it is held against must be the same every time. */
export function conform(feature: string, cases: readonly Case[]): void {
  describe(feature, () => {
    for (const given of cases) describe(given.name, () => caseFourWays(given));
  });
}

function caseFourWays(given: Case): void {
  const define = () => defineActor('case', { machine: given.machine() });
  const run = async (options: Partial<TestClusterOptions>) => {
    const type = define();
    const cluster = await testCluster({ actors: [type], ...options });
    try {
      return await runOn(cluster, type, given);
    } finally {
      await cluster.stop();
    }
  };

  const [alone, normal, away, dying] = WAYS;

  test(alone, async () => {
    expect(await runPlain(given)).toEqual(await runPlain(given));
  });

  test(normal, async () => {
    expect(comparable(await run({}), given)).toEqual(comparable(await runPlain(given), given));
  });

  test(away, async () => {
    const trace = await run({ passivate: 'every-commit' });
    expect(comparable(trace, given)).toEqual(comparable(await runPlain(given), given));
  });

  test(dying, async () => {
    const plain = comparable(await runPlain(given), given);
    const type = define();
    const points = await forEachCrash({ actors: [type] }, async (cluster, point) => {
      const trace = comparable(await runOn(cluster, type, given), given);
      if (!point) return expect(trace).toEqual(plain);
      expect(memberByMember(withoutLoss(trace, plain, point))).toEqual(memberByMember(plain));
    });
    expect(points.length).toBeGreaterThan(1);
  });

  const differences = Object.keys(given.differs ?? {}) as (keyof Trace)[];
  test.each(differences)('known: %s are otherwise', async (part) => {
    expect((await run({}))[part]).not.toEqual((await runPlain(given))[part]);
  });
}

function comparable(trace: Trace, { differs }: Case): Partial<Trace> {
  const kept = Object.entries(trace).filter(([part]) => !differs?.[part as keyof Trace]);
  return Object.fromEntries(kept);
}

/** What members of a family had left to do when a node died is done one member after the other. */
function memberByMember(trace: Partial<Trace>): Partial<Trace> {
  if (!trace.effects) return trace;
  const member = (effect: string) => /^(.*?): /.exec(effect)?.[1] ?? '';
  const effects = trace.effects.toSorted((a, b) => member(a).localeCompare(member(b)));
  return { ...trace, effects };
}
