import * as tf from '@tensorflow/tfjs-core'
import { mixtureAt } from '../model/config.ts'
import type { Training } from '../model/moe.ts'
import type { MoeModel } from '../model/transformer.ts'
import { mean } from '../sums.ts'
import { trainingLogits } from './forward.ts'
import { balanceLoss, crossEntropy, zLoss } from './losses.ts'
import type { Parameter } from './parameters.ts'

/** What the router losses count beside the cross-entropy of 1; each is a mean over the mixture layers. */
export interface LossWeights {
  balance: number
  z: number
}

/** Sequences of a step, cut into parts of as many each, that run through the model one beside the other. */
export interface BatchTensors {
  /** Sequences of a part. */
  batch: number
  /** [B T] of each part, int32. */
  tokens: tf.Tensor1D[]
  /** [B T] of each part, int32: what each token is to tell. */
  targets: tf.Tensor1D[]
}

/** Losses of a batch and their gradients. */
export type Differentiated = ReturnType<typeof differentiate>

/** Everything stays on the device; the caller disposes it. */
export function differentiate(
  model: MoeModel,
  parameters: Parameter[],
  { batch, tokens, targets }: BatchTensors,
  weights: LossWeights,
  training: Omit<Training, 'onRouting'>,
) {
  const layers = new Map<number, ReturnType<typeof emptyLayer>>()
  const losses: Record<'crossEntropy' | 'balance' | 'z', tf.Scalar[]> = {
    crossEntropy: [],
    balance: [],
    z: [],
  }
  const kept = <X extends tf.Tensor>(list: X[], x: X): X => {
    list.push(tf.keep(x)) // made in an inner scope, read after the outer
    return x
  }
  const total = (): tf.Scalar => {
    const ofParts = tokens.map((part, i) => {
      const logits = trainingLogits(model, part, batch, {
        ...training,
        onRouting(layer, routerLogits, { tokensPerExpert, expertIndices }) {
          const own = layers.get(layer) ?? emptyLayer()
          layers.set(layer, own)
          kept(own.routerLogits, routerLogits)
          kept(own.tokensPerExpert, tokensPerExpert)
          kept(own.expertIndices, expertIndices)
        },
      })
      return crossEntropy(logits, targets[i])
    })
    const predicted = kept(losses.crossEntropy, meanOf(ofParts))
    for (const [layer, { routerLogits, tokensPerExpert }] of layers) {
      const logits = routerLogits.length === 1 ? routerLogits[0] : tf.concat(routerLogits, 0)
      const { router } = mixtureAt(model.config, layer)
      kept(losses.balance, balanceLoss(logits, tf.addN(tokensPerExpert), router))
      kept(losses.z, zLoss(logits))
    }
    const { balance, z } = losses
    if (balance.length === 0) return tf.clone(predicted)
    return tf.addN([predicted, tf.mul(meanOf(balance), weights.balance), tf.mul(meanOf(z), weights.z)])
  }
  const { value, grads } = tf.variableGrads(
    total,
    parameters.map(({ variable }) => variable),
  )
  return { loss: value, ...losses, layers: [...layers.values()], gradients: grads }
}

/** Of a mixture layer, an entry a part. */
function emptyLayer() {
  return {
    routerLogits: [] as tf.Tensor2D[],
    /** [E] */
    tokensPerExpert: [] as tf.Tensor1D[],
    /** [T, K] */
    expertIndices: [] as tf.Tensor2D[],
  }
}

/** The same of rows [B][T + 1], read to the host: each token is to be told from those before. */
export function gradientsOf(
  model: MoeModel,
  parameters: Parameter[],
  rows: number[][],
  weights: LossWeights,
  replay?: Training['replay'],
) {
  const tokens = [tf.tensor1d(inputsOf(rows), 'int32')]
  const targets = [tf.tensor1d(targetsOf(rows), 'int32')]
  const made = differentiate(model, parameters, { batch: rows.length, tokens, targets }, weights, { replay })
  try {
    const [crossEntropy, balance, z] = [made.crossEntropy, made.balance, made.z].map((scalars) =>
      scalars.length === 0 ? null : mean(scalars.map((scalar) => scalar.dataSync()[0])),
    )
    return {
      /** Cross-entropy and weighted router losses: what is minimised. */
      loss: made.loss.dataSync()[0],
      /** Nats a token. */
      crossEntropy: crossEntropy as number,
      /** Means over the mixture layers, unweighted; null in a model without any. */
      balance,
      z,
      /** Assignments of each expert [E], a row for each mixture layer. */
      load: made.layers.map(({ tokensPerExpert: [counts] }) => Int32Array.from(counts.dataSync())),
      /** One a parameter, in the same order; zeros where the loss does not depend on it (an expert without tokens). */
      gradients: parameters.map(({ variable, values }) => {
        const gradient = made.gradients[variable.name]
        return gradient ? (gradient.dataSync() as Float32Array).slice() : new Float32Array(values.length)
      }),
    }
  } finally {
    tf.dispose([tokens, targets, made as unknown as tf.TensorContainer])
  }
}

/** Mean cross-entropy of rows by the ordinary forward, in nats a token. */
export function evaluate(model: MoeModel, rows: number[][]): number {
  return tf.tidy(() => {
    const { logits } = model.forward(rows.map((row) => row.slice(0, -1)))
    const flat = tf.reshape(logits, [-1, model.config.vocabSize]) as tf.Tensor2D
    return crossEntropy(flat, tf.tensor1d(targetsOf(rows), 'int32')).dataSync()[0]
  })
}

export function inputsOf(rows: number[][]): Int32Array {
  return Int32Array.from(rows.flatMap((row) => row.slice(0, -1)))
}

export function targetsOf(rows: number[][]): Int32Array {
  return Int32Array.from(rows.flatMap((row) => row.slice(1)))
}

function meanOf(losses: tf.Scalar[]): tf.Scalar {
  return losses.length === 1 ? losses[0] : tf.div(tf.addN(losses), losses.length)
}
