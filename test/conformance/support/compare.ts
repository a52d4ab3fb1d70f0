import { describe, expect, test } from 'vitest';
import { defineActor } from '../../../src/index.ts';
import { forEachCrash, type TestClusterOptions, testCluster } from '../../../src/testing/index.ts';
import type { Case, Trace } from './case.ts';
import { runPlain } from './plain.ts';
import { runOn, withoutLoss } from './run.ts';

/**
 * Each case four ways: under XState alone, in Perdure, with every actor leaving memory after every commit, and with a
 * node that dies at every place one can die at. All must show the same.
 */
export function conform(cases: readonly Case[]): void {
  describe.each(cases)('$name', (given) => {
    const type = defineActor('case', { machine: given.machine() });
    const run = async (options: Partial<TestClusterOptions>) => {
      const cluster = await testCluster({ actors: [type], ...options });
      try {
        return await runOn(cluster, type, given);
      } finally {
        await cluster.stop();
      }
    };

    test('as under XState', async () => {
      expect(comparable(await run({}), given)).toEqual(comparable(await runPlain(given), given));
    });

    test('out of memory after every commit', async () => {
      const trace = await run({ passivate: 'every-commit' });
      expect(comparable(trace, given)).toEqual(comparable(await runPlain(given), given));
    });

    test('a node dies at every point', async () => {
      const plain = comparable(await runPlain(given), given);
      const points = await forEachCrash({ actors: [type] }, async (cluster, point) => {
        const trace = comparable(await runOn(cluster, type, given), given);
        if (!point) return expect(trace).toEqual(plain);
        expect(memberByMember(withoutLoss(trace, plain, point))).toEqual(memberByMember(plain));
      });
      expect(points.length).toBeGreaterThan(2);
    });

    const differences = Object.keys(given.differs ?? {}) as (keyof Trace)[];
    test.each(differences)('known: %s are otherwise', async (part) => {
      expect((await run({}))[part]).not.toEqual((await runPlain(given))[part]);
    });
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
