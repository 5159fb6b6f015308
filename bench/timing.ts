import { setImmediate as nextTurn } from 'node:timers/promises'
import { shuffler } from 'd3-array'
import { Xoshiro128 } from '../src/generate/random.ts'

/** One way to do the work of a case. */
export interface Timed {
  /** Untimed, before every run. */
  prepare?(): void
  /** Does the work and reads its result back: without the read a device may still be at it when the clock stops. */
  run(): void
}

export interface SamplingLimits {
  /** For all variants together, warm-up included. */
  budgetMs: number
  /** Taken even if the budget is spent, so that a median is one. */
  minSamples: number
  maxSamples: number
}

export interface Sampling {
  /** Milliseconds, one list a variant, in the order they were taken. */
  samples: number[][]
  warmupRounds: number
  /** The last two warm-up rounds agreed; false when the limit ended the warm-up. */
  stable: boolean
}

/** Warm when no variant's run is still this much faster or slower than its run before. */
const STABLE_WITHIN = 0.1
/** A warm-up may take this share of the budget. */
const WARMUP_SHARE = 0.3
/** At least two runs, to compare; the very first also uploads weights. */
export const MIN_WARMUP_ROUNDS = 2
const MAX_WARMUP_ROUNDS = 20
const ORDER_SEED = 1

/**
 * Times variants in turn, one run each a round, so that a busy or throttled moment meets all of them alike; in an order drawn
 * anew each round, so that none always runs behind the same other. `signal` ends it after the current run.
 */
export async function sampleInterleaved(
  variants: Timed[],
  limits: SamplingLimits,
  signal: AbortSignal,
  now: () => number = () => performance.now(),
): Promise<Sampling> {
  const started = now()
  const { rounds, stable } = await warmUp(variants, started + WARMUP_SHARE * limits.budgetMs, signal, now)
  const samples: number[][] = variants.map(() => [])
  const random = Xoshiro128.fromSeed(ORDER_SEED)
  const shuffle = shuffler(() => random.uniform())
  for (let round = 0; round < limits.maxSamples; round++) {
    if (round >= limits.minSamples && now() - started >= limits.budgetMs) break
    for (const v of shuffle([...variants.keys()])) {
      if (signal.aborted) return { samples, warmupRounds: rounds, stable }
      samples[v].push(timeOnce(variants[v], now))
      await nextTurn() // an interrupt is seen only between turns of the event loop
    }
  }
  return { samples, warmupRounds: rounds, stable }
}

async function warmUp(
  variants: Timed[],
  until: number,
  signal: AbortSignal,
  now: () => number,
): Promise<{ rounds: number; stable: boolean }> {
  let before: number[] = []
  for (let round = 1; round <= MAX_WARMUP_ROUNDS; round++) {
    const times: number[] = []
    for (const variant of variants) {
      if (signal.aborted) return { rounds: round - 1, stable: false }
      times.push(timeOnce(variant, now))
      await nextTurn()
    }
    const stable =
      before.length > 0 && times.every((ms, i) => Math.abs(ms - before[i]) <= STABLE_WITHIN * before[i])
    if (round >= MIN_WARMUP_ROUNDS && (stable || now() >= until)) return { rounds: round, stable }
    before = times
  }
  return { rounds: MAX_WARMUP_ROUNDS, stable: false }
}

function timeOnce(variant: Timed, now: () => number): number {
  variant.prepare?.()
  const start = now()
  variant.run()
  return now() - start
}
