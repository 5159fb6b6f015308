import type * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { InputError } from '../errors.ts'
import { rowsOf } from './rows.ts'

/** Index of the largest value; a tie goes to the lower index. */
export function argmax(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i
  return best
}

/** @throws InputError when a logit is NaN or plus infinity, or none is finite: no token can then be chosen */
export function checkLogits(logits: Float32Array): void {
  let finite = 0
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token]
    if (Number.isFinite(logit)) finite++
    else if (logit !== Number.NEGATIVE_INFINITY) {
      throw new InputError(`sampler: the logit of token ${token} is ${logit}, expected a finite number`)
    }
  }
  if (finite === 0)
    throw new InputError('sampler: every logit is minus infinity, expected at least one finite number')
}

/** The token with the largest logit in each of the rows [..., V]; errors as `checkLogits`. */
export function mostLikelyTokens(logits: tf.Tensor): number[] {
  const values = backend().read(logits)
  const V = logits.shape[logits.rank - 1]
  return rowsOf(values, V).map((row) => {
    checkLogits(row)
    return argmax(row)
  })
}
