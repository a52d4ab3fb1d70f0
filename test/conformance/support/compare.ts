import { describe, expect, test } from 'vitest';
import { parentOf } from '../../../src/actors/kin.ts';
import { defineActor } from '../../../src/index.ts';
import {
  type CrashPoint,
  forEachCrash,
  type TestCluster,
  type TestClusterOptions,
  testCluster,
} from '../../../src/testing/index.ts';
import type { Case, Trace } from './case.ts';
import { prefixOf, runPlain, started, viewOf } from './plain.ts';

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

export async function runOn(
  cluster: TestCluster,
  type: ReturnType<typeof defineActor>,
  { input, steps }: Case,
): Promise<Trace> {
  const actor = await cluster.start(type, { id: 'a', input });
  const views: Trace['views'] = [];
  const look = () => views.push({ ...viewOf(actor.snapshot), error: actor.error?.message });
  look();
  for (const step of steps) {
    if ('advance' in step) await cluster.advance(step.advance);
    // What is sent to one that has ended is dropped by XState, and a dead letter here.
    else if (actor.status === 'active') await actor.send(step.send);
    look();
  }
  const { history, status } = actor;
  expect(history.map(({ seq }) => seq)).toEqual(history.map((_, index) => index + 1));
  expect(cluster.outcomes.map((outcome) => outcome.status)).toEqual(
    status === 'active' ? [] : [status],
  );
  expect(cluster.deadLetters).toEqual([]);
  return { views, emitted: actor.emitted, effects: begun(cluster.effects) };
}

/** Each effect once, where it began first: after a crash it begins again, under the same key. */
function begun(effects: TestCluster['effects']): string[] {
  const seen = new Set<string>();
  return effects
    .filter(({ key }) => !seen.has(key) && seen.add(key))
    .map(({ actor, kind, name, input }) => {
      const [type = '', id = ''] = actor.split('/', 2);
      const above = parentOf({ type, id });
      const effect = kind === 'invoke' ? started(name, input) : `action ${name}`;
      return above ? prefixOf(above.childId) + effect : effect;
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

/** The live feed is heard by who listens at that moment: what a node had to tell when it died may be missing. */
export function withoutLoss(
  trace: Partial<Trace>,
  plain: Partial<Trace>,
  { at }: CrashPoint,
): Partial<Trace> {
  if (at === 'before-commit' || !trace.emitted || !plain.emitted) return trace;
  const heard = trace.emitted.map((event) => JSON.stringify(event));
  let next = 0;
  for (const event of plain.emitted) if (JSON.stringify(event) === heard[next]) next++;
  return next === heard.length ? { ...trace, emitted: plain.emitted } : trace;
}
