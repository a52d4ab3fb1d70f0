import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By name, so that the first run on a machine is as quick as the next: vitest knows durations only from runs before. */
const SLOWEST = [
  ...['crash', 'dev', 'quarantine', 'parked', 'cli', 'clusterCutOff', 'versions', 'cluster-cli'],
  ...['killedOutside', 'refusedCommit', 'store.postgres', 'store', 'transaction', 'chaosLoad'],
  ...['invokes', 'audit', 'cluster', 'families', 'health', 'outages', 'transactionLive'],
];

/** No long file is left for the end, where others have nothing more to do; what only computes fills the gaps there. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}

function rank({ moduleId, project }: TestSpecification): number {
  const place = SLOWEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
  if (place !== -1) return place;
  return project.name === 'alone' ? SLOWEST.length + 1 : SLOWEST.length;
}
