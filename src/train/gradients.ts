import * as tf from '@tensorflow/tfjs-core'
import { mixtureAt } from '../model/config.ts'
import type { MoeModel } from '../model/transformer.ts'
import { balanceLoss, crossEntropy, zLoss } from './losses.ts'
import type { Parameter } from './parameters.ts'

/** What the router losses count beside the cross-entropy of 1; each is a mean over the mixture layers. */
export interface LossWeights {
  balance: number
  z: number
}

/** Losses of a batch and their gradients, read to the host. `rows` [B][T + 1]: each token is to be told from those before. */
export function gradientsOf(
  model: MoeModel,
  parameters: Parameter[],
  rows: number[][],
  weights: LossWeights,
) {
  const load: Int32Array[] = []
  const kept: tf.Scalar[][] = [[], [], []] // cross-entropy, balance, z: made in inner scopes, read after the outer
  const keep = (kind: number, loss: tf.Scalar) => kept[kind].push(tf.keep(loss))
  const onRouting = (
    layer: number,
    routerLogits: tf.Tensor2D,
    { tokensPerExpert }: { tokensPerExpert: Int32Array },
  ) => {
    load.push(tokensPerExpert)
    const { router } = mixtureAt(model.config, layer)
    keep(1, balanceLoss(routerLogits, tokensPerExpert, router))
    keep(2, zLoss(routerLogits))
  }
  const total = (): tf.Scalar => {
    const { logits } = model.forward(inputsOf(rows), { training: { onRouting } })
    keep(0, crossEntropy(tf.reshape(logits, [-1, model.config.vocabSize]), targetsOf(rows)))
    const [[predicted], balance, z] = kept
    if (balance.length === 0) return tf.clone(predicted)
    return tf.addN([predicted, tf.mul(meanOf(balance), weights.balance), tf.mul(meanOf(z), weights.z)])
  }
  const { value, grads } = tf.variableGrads(
    total,
    parameters.map(({ variable }) => variable),
  )
  try {
    const [[predicted], balance, z] = kept.map((losses) => losses.map((loss) => loss.dataSync()[0]))
    return {
      /** Cross-entropy and weighted router losses: what is minimised. */
      loss: value.dataSync()[0],
      /** Nats a token. */
      crossEntropy: predicted,
      /** Means over the mixture layers, unweighted; null in a model without any. */
      balance: mean(balance),
      z: mean(z),
      /** Assignments of each expert [E], a row for each mixture layer. */
      load,
      /** One a parameter, in the same order; zeros where the loss does not depend on it (an expert without tokens). */
      gradients: parameters.map(({ variable, values }) => {
        const gradient = grads[variable.name]
        return gradient ? (gradient.dataSync() as Float32Array).slice() : new Float32Array(values.length)
      }),
    }
  } finally {
    tf.dispose([value, grads, kept])
  }
}

/** Mean cross-entropy of rows by the ordinary forward, in nats a token. */
export function evaluate(model: MoeModel, rows: number[][]): number {
  return tf.tidy(() => {
    const { logits } = model.forward(inputsOf(rows))
    return crossEntropy(tf.reshape(logits, [-1, model.config.vocabSize]), targetsOf(rows)).dataSync()[0]
  })
}

function inputsOf(rows: number[][]): number[][] {
  return rows.map((row) => row.slice(0, -1))
}

function targetsOf(rows: number[][]): Int32Array {
  return Int32Array.from(rows.flatMap((row) => row.slice(1)))
}

function meanOf(losses: tf.Scalar[]): tf.Scalar {
  return tf.div(tf.addN(losses), losses.length)
}

function mean(values: number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length
}
