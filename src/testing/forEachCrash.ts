import { asError } from '../errors.ts';
import type { CrashPoint } from './crashPlan.ts';
import { type TestCluster, type TestClusterOptions, testCluster } from './testCluster.ts';

/** What is to be done with a cluster; `point` says where its node dies, undefined in the run without a crash. */
export type Scenario = (cluster: TestCluster, point: CrashPoint | undefined) => Promise<void>;

/**
 * Runs a scenario without a crash, then once for every place at which a node can die in it: before each commit, after
 * it, and after each of the effects it causes. Every run has a cluster of its own. Returns the places.
 * @throws what the scenario throws, with the place it happened at in front of the message.
 */
export async function forEachCrash(
  options: Omit<TestClusterOptions, 'crash'>,
  scenario: Scenario,
): Promise<CrashPoint[]> {
  const points = await runWith(options, undefined, scenario);
  for (const point of points) await runWith(options, point, scenario);
  return points;
}

async function runWith(
  options: Omit<TestClusterOptions, 'crash'>,
  point: CrashPoint | undefined,
  scenario: Scenario,
): Promise<CrashPoint[]> {
  const cluster = await testCluster({ ...options, crash: point ?? 'never' });
  try {
    await scenario(cluster, point);
    return cluster.crashPoints;
  } catch (thrown) {
    const error = asError(thrown);
    error.message = `${point ? `Node dies ${placeOf(point)}` : 'Without a crash'}: ${error.message}`;
    throw error;
  } finally {
    await cluster.stop();
  }
}

function placeOf(point: CrashPoint): string {
  return point.at === 'between-effects'
    ? `after effect ${point.effects} of commit ${point.commit}`
    : `${point.at.replace('-commit', '')} commit ${point.commit}`;
}
