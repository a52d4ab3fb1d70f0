import { isDeepStrictEqual } from 'node:util';
import { defineActor } from '../../../src/index.ts';
import {
  type CrashPoint,
  type TestClusterOptions,
  testCluster,
} from '../../../src/testing/index.ts';
import type { Case, Trace, View } from '../support/case.ts';
import { runPlain } from '../support/plain.ts';
import { runOn, withoutLoss } from '../support/run.ts';
import { ANSWERS, build, type Context } from './build.ts';
import type { CaseData } from './data.ts';

export function caseOf(name: string, { machine, steps }: CaseData): Case {
  return { name, machine: () => build(machine), steps };
}

/**
 * Runs a machine under XState alone, in Perdure, out of memory after every commit, with a node that dies at one place, and with
 * nodes that die after each commit. Returns how one of them differed from the first.
 */
export async function difference(
  data: CaseData,
  random: () => number,
): Promise<string | undefined> {
  const given = caseOf('random', data);
  let ties = false;
  const plain = await runPlain(given, () => {
    ties = true;
  });
  if (ties && (answersAtOnce(data) || settles(data))) return undefined;
  const type = defineActor('case', { machine: given.machine() });
  const run = async (
    told: string,
    options: Omit<TestClusterOptions, 'actors'>,
  ): Promise<{ problem: string | undefined; points: CrashPoint[] }> => {
    const cluster = await testCluster({ actors: [type], ...options });
    try {
      const crash = options.crash ?? 'never';
      const trace = await runOn(cluster, type, given);
      const seen = crash === 'never' ? trace : { ...trace, ...withoutLoss(trace, plain, crash) };
      const problem = unlike(seen, plain);
      return { problem: problem && `${told}: ${problem}`, points: cluster.crashPoints };
    } catch (error) {
      return { problem: `${told}: ${(error as Error).stack}`, points: [] };
    } finally {
      await cluster.stop();
    }
  };
  const normal = await run('without a crash', {});
  if (normal.problem !== undefined) return normal.problem;
  const away = await run('out of memory after every commit', { passivate: 'every-commit' });
  if (away.problem !== undefined) return away.problem;
  const { points } = normal;
  const crash = points[Math.floor(random() * points.length)] as CrashPoint;
  const once = await run(`a node dies at ${JSON.stringify(crash)}`, { crash });
  // What speaks whenever it is started again would never come to an end.
  if (once.problem !== undefined || speaks(data)) return once.problem;
  const always = await run('nodes die after every commit', { crash: 'every-commit' });
  return always.problem;
}

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
    // What a step begins, and the next one in the same commit has left again, does not begin; and what a child answers
    // when it has been left in the step that told it is not heard.
    const begin = (who: string) => !who.endsWith(ANSWERS);
    const all = heard.filter(begin).length === mustHear.filter(begin).length;
    const mayLack = begun.length < wanted.length;
    if (!(all || mayLack) || !heard.every((who) => mustHear.includes(who)))
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
