import { defineConfig } from 'vitest/config';

/** Minutes of faults, one file after the other: `npm run faults`. */
export default defineConfig({
  test: {
    include: ['test/faults/*.test.ts'],
    pool: 'forks',
    // They measure how long things take, and kill servers.
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    retry: 0,
  },
});
