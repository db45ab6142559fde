import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    reporters: [['default', { summary: false }], './test/closing-line.ts'],
    testTimeout: 60_000,
    hookTimeout: 240_000,
    pool: 'forks',
    // Most files wait for a real part more than they compute; on two cores, three at a time keep both busy.
    maxWorkers: 3,
  },
});
