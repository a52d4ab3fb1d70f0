import { defineConfig } from 'vitest/config';

/** Machines made at random: `npm run property`. */
export default defineConfig({
  test: {
    include: ['test/conformance/property.test.ts'],
    pool: 'forks',
    retry: 0,
  },
});
