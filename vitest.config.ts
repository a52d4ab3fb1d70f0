import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './test/support/slowestFirst.ts';

const WITH_SERVERS = 'test/unit/{chaosLoad,connectionSettings,docs,store.arrays}.test.ts';

const OWN_NAME = new URL('test/support/ownName.ts', import.meta.url).href;

export default defineConfig({
  test: {
    reporters: ['default', './test/conformance/support/tableReporter.ts'],
    pool: 'forks',
    // Node.js strips the types itself and keeps what it compiled: to have Vite do it again for each file was a tenth of the work.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    // The build of XState for development throws where the other one does not.
    execArgv: ['--conditions=development', '--import', OWN_NAME],
    setupFiles: ['test/support/keepCompiled.ts'],
    // Enough to keep two cores busy while some wait, for leases, for nodes and for servers.
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
