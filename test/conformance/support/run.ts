import { deepStrictEqual as deepEqual } from 'node:assert/strict';
import { parentOf } from '../../../src/actors/kin.ts';
import type { defineActor } from '../../../src/index.ts';
import type { CrashOption, TestCluster } from '../../../src/testing/index.ts';
import type { Case, Trace } from './case.ts';
import { prefixOf, started, viewOf } from './plain.ts';

/** A case in Perdure. */
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
  deepEqual(
    history.map(({ seq }) => seq),
    history.map((_, index) => index + 1),
  );
  deepEqual(
    cluster.outcomes.map((outcome) => outcome.status),
    status === 'active' ? [] : [status],
  );
  deepEqual(cluster.deadLetters, []);
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

/** The live feed is heard by who listens at that moment: what a node had to tell when it died may be missing. */
export function withoutLoss(
  trace: Partial<Trace>,
  plain: Partial<Trace>,
  crash: CrashOption,
): Partial<Trace> {
  const isLoud = crash === 'never' || (typeof crash === 'object' && crash.at === 'before-commit');
  if (isLoud || !trace.emitted || !plain.emitted) return trace;
  const heard = trace.emitted.map((event) => JSON.stringify(event));
  let next = 0;
  for (const event of plain.emitted) if (JSON.stringify(event) === heard[next]) next++;
  return next === heard.length ? { ...trace, emitted: plain.emitted } : trace;
}
