import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['./test/client-programs.ts'],
    reporters: [['default', { summary: false }], './test/closing-line.ts'],
    testTimeout: 60_000,
    hookTimeout: 240_000,
    pool: 'forks',
    maxWorkers: 3,
    // Real services on a shared machine: on CI, what fails once is run again, and the log shows both.
    retry: process.env['CI'] === 'true' ? 2 : 0,
  },
});
