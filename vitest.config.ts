import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // TensorFlow is a process-wide library with its own threads: one process a file, two at a time on two cores.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } }, // a machine that is busy answers late
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts', 'bench/**/*.ts'],
      exclude: ['src/web/**'], // runs in Chromium, which these counters do not see
      reporter: ['text-summary'],
      reportOnFailure: true,
    },
  },
})
