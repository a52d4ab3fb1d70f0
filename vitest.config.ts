import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  // Examples name the package as its users do.
  resolve: {
    alias: [{ find: /^perdure$/, replacement: new URL('src/index.ts', import.meta.url).pathname }],
  },
  test: {
    include: ['test/**/*.test.ts'],
    // Minutes of faults, chaos runs and the run on the oldest XState have commands of their own.
    exclude: [
      ...configDefaults.exclude,
      'test/chaos/**',
      'test/faults/**',
      'test/oldest/**',
      'test/page/**',
    ],
    reporters: ['default', './test/conformance/support/tableReporter.ts'],
    globalSetup: ['test/support/globalSetup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // A test that passes the second time has found something.
    retry: 0,
  },
});
