import * as tf from '@tensorflow/tfjs-core'
import type { MoeModel } from '../../model/transformer.ts'
import type { Race } from './protocol.ts'
import { forwardMs } from './run.ts'

/** Rows and columns of the product, and numbers that are summed: far more than a processor's caches hold. */
const PRODUCT = 384
const SUMMED = 2 ** 23
const READINGS = 5

/**
 * The same text through all experts and through the chosen ones, in turns, so that whatever else the machine does meets both;
 * and what the machine can do at most.
 */
export async function race(
  model: MoeModel,
  tokens: number[],
  rounds: number,
  onShare: (share: number) => void,
): Promise<Race> {
  const result = { dense: [] as number[], sparse: [] as number[] }
  for (const dispatch of ['dense', 'sparse'] as const) forwardMs(model, tokens, { dispatch }) // warm
  for (let round = 0; round < rounds; round++) {
    for (const dispatch of ['dense', 'sparse'] as const) {
      result[dispatch].push(forwardMs(model, tokens, { dispatch }))
    }
    onShare((round + 1) / (rounds + 1))
    await new Promise((resolve) => setTimeout(resolve))
  }
  return { tokens: tokens.length, rounds, ...result, gflops: productGflops(), gbPerS: readingGbPerS() }
}

function productGflops(): number {
  const a = tf.randomUniform([PRODUCT, PRODUCT])
  const ms = best(() => tf.tidy(() => tf.matMul(a, a).dataSync()))
  a.dispose()
  return (2 * PRODUCT ** 3) / ms / 1e6
}

function readingGbPerS(): number {
  const a = tf.ones([SUMMED])
  const ms = best(() => tf.tidy(() => tf.sum(a).dataSync()))
  a.dispose()
  return (4 * SUMMED) / ms / 1e6
}

function best(work: () => unknown): number {
  const samples = Array.from({ length: READINGS }, () => {
    const began = performance.now()
    work()
    return performance.now() - began
  })
  return Math.min(...samples)
}
