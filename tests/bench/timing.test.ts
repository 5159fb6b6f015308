import { describe, expect, test } from 'vitest'
import { type SamplingLimits, sampleInterleaved } from '../../bench/timing.ts'

const LIMITS: SamplingLimits = { budgetMs: 1000, minSamples: 3, maxSamples: 5 }

/** Variants that take a set time on a clock of the test's own, and a log of who ran. */
function fakeVariants(durations: ((run: number) => number)[]) {
  let time = 0
  const log: string[] = []
  const variants = durations.map((duration, v) => {
    let runs = 0
    return {
      prepare: () => {
        log.push(`prepare ${v}`)
        time += 1000 // must not count
      },
      run: () => {
        log.push(`run ${v}`)
        time += duration(runs++)
      },
    }
  })
  return { variants, log, now: () => time }
}

const never = new AbortController().signal

describe('sampleInterleaved', () => {
  test('times each variant without its preparation', async () => {
    const { variants, now } = fakeVariants([() => 10, () => 20])
    const { samples, stable } = await sampleInterleaved(variants, LIMITS, never, now)
    expect(new Set(samples[0])).toEqual(new Set([10]))
    expect(new Set(samples[1])).toEqual(new Set([20]))
    expect(stable).toBe(true)
  })

  test('runs variants in turn, each once a round, in an order of its own', async () => {
    const { variants, log, now } = fakeVariants([() => 1, () => 1, () => 1])
    const { warmupRounds } = await sampleInterleaved(variants, { ...LIMITS, budgetMs: 0 }, never, now)
    const runs = log.filter((entry) => entry.startsWith('run')).map((entry) => Number(entry.slice(4)))
    const timed = runs.slice(warmupRounds * 3)
    const rounds = [0, 3, 6].map((from) => timed.slice(from, from + 3))
    expect(timed).toHaveLength(9)
    for (const round of rounds) expect(round.toSorted()).toEqual([0, 1, 2])
    expect(new Set(rounds.map(String)).size).toBeGreaterThan(1)
  })

  test('takes the least number of samples although the budget is spent, and never more than the most', async () => {
    const slow = fakeVariants([() => 5000])
    expect((await sampleInterleaved(slow.variants, LIMITS, never, slow.now)).samples[0]).toHaveLength(3)
    const fast = { variants: [{ run: () => {} }], now: () => 0 }
    expect((await sampleInterleaved(fast.variants, LIMITS, never, fast.now)).samples[0]).toHaveLength(5)
  })

  test('warms up until a run is like the one before', async () => {
    const warming = fakeVariants([(run) => Math.max(10, 100 - 30 * run)])
    const limits = { ...LIMITS, budgetMs: 1e9 }
    const { samples, warmupRounds, stable } = await sampleInterleaved(
      warming.variants,
      limits,
      never,
      warming.now,
    )
    expect({ warmupRounds, stable }).toEqual({ warmupRounds: 5, stable: true })
    expect(samples[0]).toEqual([10, 10, 10, 10, 10])
  })

  test('a variant that never settles is timed all the same, and that is said', async () => {
    const restless = fakeVariants([(run) => (run % 2 ? 10 : 20)])
    const { samples, stable } = await sampleInterleaved(restless.variants, LIMITS, never, restless.now)
    expect(stable).toBe(false)
    expect(samples[0].length).toBeGreaterThanOrEqual(3)
  })

  test('an abort ends it after the current run, with what was measured', async () => {
    const controller = new AbortController()
    let runs = 0
    const variant = {
      run: () => {
        if (++runs === 5) controller.abort()
      },
    }
    const { samples, warmupRounds } = await sampleInterleaved([variant], LIMITS, controller.signal, () => 0)
    expect(runs).toBe(5)
    expect(samples[0]).toHaveLength(5 - warmupRounds)
  })
})
