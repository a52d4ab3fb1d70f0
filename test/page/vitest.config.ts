import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/page/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    hookTimeout: 120_000,
    retry: 0,
  },
});
