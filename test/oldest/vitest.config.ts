import { defineConfig } from 'vitest/config';

const ROOT = new URL('../../', import.meta.url).pathname;

const onXState = (name: string, copy: string, graph: string, also: string[]) => ({
  root: ROOT,
  resolve: {
    alias: [
      { find: /^perdure$/, replacement: `${ROOT}src/index.ts` },
      { find: /^xstate$/, replacement: `${ROOT}node_modules/${copy}/dist/xstate.esm.js` },
      { find: /^xstate\/graph$/, replacement: `${ROOT}node_modules/${copy}/${graph}` },
    ],
  },
  test: {
    name,
    include: [
      ...also,
      'test/conformance/*.test.ts',
      'test/unit/{xstate,logic,step,define,codec,migrate,check,replay,testing,attempts}.test.ts',
    ],
    exclude: ['test/conformance/property.test.ts'],
    pool: 'forks' as const,
    testTimeout: 30_000,
    retry: 0,
  },
});

/**
 * What rests on the inside of XState, with the oldest version the package allows, and with the build of the newest that nodes run:
 * all other tests are given the one for development, which throws where this one does not. `npm run test:oldest`.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      onXState('oldest', 'xstate-oldest', 'graph/dist/xstate-graph.esm.js', [
        'test/oldest/*.test.ts',
      ]),
      onXState('newest', 'xstate', 'dist/xstate-graph.esm.js', []),
    ],
  },
});
