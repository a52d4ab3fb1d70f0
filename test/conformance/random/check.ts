import { isDeepStrictEqual } from 'node:util';
import { defineActor } from '../../../src/index.ts';
import {
  type CrashPoint,
  type TestClusterOptions,
  testCluster,
} from '../../../src/testing/index.ts';
import { randomFrom } from '../../support/cluster.ts';
import type { Case, Trace, View } from '../support/case.ts';
import { type Oddity, runPlain } from '../support/plain.ts';
import { runOn, withoutLoss } from '../support/run.ts';
import { build, type Context } from './build.ts';
import type { CaseData } from './data.ts';
import { writeCase } from './write.ts';

export function caseOf(name: string, { machine, steps }: CaseData): Case {
  return { name, machine: () => build(machine), steps };
}

/** `odd`: what XState did is its own alone, so there is nothing to compare with. */
export interface Verdict {
  verdict: 'same' | 'odd' | 'different';
  problem?: string;
}

export async function checkSeed(seed: number): Promise<Verdict> {
  const random = randomFrom(seed);
  return check(writeCase(random), random);
}

/**
 * Runs a machine under XState alone, in Perdure, out of memory after every commit, with a node that dies at one place, and with
 * nodes that die after each commit, and says whether all are the same.
 */
export async function check(data: CaseData, random: () => number): Promise<Verdict> {
  const given = caseOf('random', data);
  const odd = new Set<Oddity>();
  const plain = await runPlain(given, {
    oneTimerForEachId: true,
    onOddity: (oddity) => odd.add(oddity),
  });
  const isTied = odd.has('tie') && (answersAtOnce(data) || settles(data));
  if (isTied || odd.has('orphan')) return { verdict: 'odd' };
  const type = defineActor('case', { machine: given.machine() });
  const run = async (options: Ways) => {
    const cluster = await testCluster({ actors: [type], ...options });
    try {
      const trace = await runOn(cluster, type, given);
      const seen = { ...trace, ...withoutLoss(trace, plain, options.crash ?? 'never') };
      return { problem: unlike(seen, plain), points: cluster.crashPoints };
    } catch (error) {
      return { problem: String((error as Error).stack), points: [] };
    } finally {
      await cluster.stop();
    }
  };
  const normal = await run({});
  const { points } = normal;
  const crash = points[Math.floor(random() * points.length)] as CrashPoint;
  // What speaks whenever it is started again would never come to an end.
  const always: Ways[] = speaks(data) ? [] : [{ crash: 'every-commit' }];
  if (normal.problem !== undefined) return differs('without a crash', normal.problem);
  for (const options of [{ passivate: 'every-commit' as const }, { crash }, ...always]) {
    const { problem } = await run(options);
    if (problem !== undefined) return differs(JSON.stringify(options), problem);
  }
  return { verdict: 'same' };
}

type Ways = Pick<TestClusterOptions, 'crash' | 'passivate'>;

const differs = (how: string, problem: string): Verdict => ({
  verdict: 'different',
  problem: `${how}: ${problem}`,
});

function unlike(trace: Trace, plain: Trace): string | undefined {
  const begun = invokes(trace);
  const wanted = invokes(plain);
  const failsAtStart = plain.views[0]?.status === 'error';
  for (const [at, view] of plain.views.entries()) {
    const seen = trace.views[at] as View;
    const [[told, heard], [mustTell, mustHear]] = [
      apart(seen, failsAtStart),
      apart(view, failsAtStart),
    ];
    if (!isDeepStrictEqual(told, mustTell))
      return `after step ${at}\n  is     ${JSON.stringify(told)}\n  should ${JSON.stringify(mustTell)}`;
    // What a child has said counts as long as it has not been left: in XState what is in the mailbox counts.
    if (!heard.every((who) => mustHear.includes(who)))
      return `after step ${at} heard is ${heard}, should be ${mustHear}`;
  }
  // What a step that fails would have caused never happens, and in XState some of it has.
  const fails = plain.views.at(-1)?.status === 'error';
  const same = (is: string, should: string) => is === should || (fails && should.startsWith(is));
  const [told, mustTell] = [trace, plain].map(({ emitted }) =>
    emitted.map((event) => JSON.stringify(event)).join(),
  ) as [string, string];
  if (!same(told, mustTell)) return `emitted\n  is     ${told}\n  should ${mustTell}`;
  const [did, should] = [actions(trace), actions(plain)];
  if (!same(did, should)) return `actions\n  is     ${did}\n  should ${should}`;
  let next = 0;
  for (const invoke of wanted) if (invoke === begun[next]) next++;
  return next === begun.length ? undefined : `invokes\n  is     ${begun}\n  should ${wanted}`;
}

/** What comes of one timer would be taken before the next one by XState, and after it here: see differences.test.ts. */
const answersAtOnce = ({ machine }: CaseData): boolean =>
  /"onSnapshot"|"do":"self","event":"[\w.]+"\}/.test(JSON.stringify(machine));

const settles = ({ machine }: CaseData): boolean =>
  /"src":"(?:works|fails|echo|ticks|values)"/.test(JSON.stringify(machine));

/** A view, and who was heard until then. Of an actor that fails as it starts nothing is written but the error. */
function apart(view: View, failsAtStart: boolean): [view: unknown, heard: string[]] {
  if (failsAtStart) return [{ status: view.status, error: view.error }, []];
  const { heard, ...context } = view.context as Context;
  const told = { ...view, context, tags: [...view.tags].sort() };
  return [JSON.parse(JSON.stringify(told)), Object.keys(heard)];
}

const isInvoke = (effect: string) => effect.startsWith('invoke ');
const invokes = ({ effects }: Trace) => effects.filter(isInvoke);
const actions = ({ effects }: Trace) => effects.filter((effect) => !isInvoke(effect)).join();

const speaks = ({ machine }: CaseData): boolean =>
  /"src":"(?:echo|ticks|values)"/.test(JSON.stringify(machine));
