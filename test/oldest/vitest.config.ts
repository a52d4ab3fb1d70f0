import { defineConfig } from 'vitest/config';

const inOldest = (file: string) =>
  new URL(`../../node_modules/xstate-oldest/${file}`, import.meta.url).pathname;

/** What rests on the inside of XState, with the oldest version the package allows: `npm run test:oldest`. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^perdure$/, replacement: new URL('../../src/index.ts', import.meta.url).pathname },
      { find: /^xstate$/, replacement: inOldest('dist/xstate.esm.js') },
      { find: /^xstate\/graph$/, replacement: inOldest('graph/dist/xstate-graph.esm.js') },
    ],
  },
  test: {
    include: [
      'test/oldest/*.test.ts',
      'test/conformance/*.test.ts',
      'test/unit/{xstate,logic,step,define,codec,migrate,check,replay,testing,attempts}.test.ts',
    ],
    exclude: ['test/conformance/property.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    retry: 0,
  },
});
