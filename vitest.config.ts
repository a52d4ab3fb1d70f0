import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './test/support/slowestFirst.ts';

const WITH_SERVERS = 'test/unit/{chaosLoad,connectionSettings,docs,store.arrays}.test.ts';

export default defineConfig({
  // Examples name the package as its users do.
  resolve: {
    alias: [{ find: /^perdure$/, replacement: new URL('src/index.ts', import.meta.url).pathname }],
  },
  test: {
    reporters: ['default', './test/conformance/support/tableReporter.ts'],
    pool: 'forks',
    // On two cores: most of the time they wait, for leases, for nodes and for servers.
    maxWorkers: 4,
    sequence: { sequencer: SlowestFirst },
    testTimeout: 30_000,
    // A second, which is what vitest gives by itself, is what a busy machine may stand still for.
    expect: { poll: { timeout: 10_000 } },
    hookTimeout: 60_000,
    // A test that passes the second time has found something.
    retry: 0,
    // Minutes of faults, chaos runs and the run on the oldest XState have commands of their own.
    projects: [
      {
        extends: true,
        test: {
          name: 'servers',
          globalSetup: ['test/support/globalSetup.ts'],
          include: ['test/{contract,integration}/**/*.test.ts', WITH_SERVERS],
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/{unit,conformance}/**/*.test.ts'],
          exclude: [WITH_SERVERS],
          // They start nothing and keep nothing: loading the same code for each again was a third of their time.
          isolate: false,
        },
      },
    ],
  },
});
