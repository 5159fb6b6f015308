import * as tf from '@tensorflow/tfjs-core'
import type { RouterConfig } from '../model/config.ts'
import { sum } from '../sums.ts'

/** Smallest normal float32: a probability that underflows counts as 87 nats, not as infinity. */
const SMALLEST = 2 ** -126

/**
 * Mean of -log p(target) in nats. logits [N, V], targets [N] int32. The gradient, (p - one-hot) / N, is written out: it takes
 * a third of the passes over [N, V] that the gradient of a log-softmax does.
 */
export function crossEntropy(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Scalar {
  const [N, V] = logits.shape
  const loss = tf.customGrad((...args) => {
    const [z, save] = args as [tf.Tensor2D, tf.GradSaveFunc]
    const probabilities = tf.softmax(z) // [N, V]
    save([probabilities, targets])
    const flat = tf.add(tf.mul(tf.range(0, N, 1, 'int32'), tf.scalar(V, 'int32')), targets) // [N]
    const chosen = tf.gather(tf.reshape(probabilities, [N * V]), flat) // [N]
    return {
      value: tf.neg(tf.mean(tf.log(tf.maximum(chosen, SMALLEST)))) as tf.Scalar,
      gradFunc: (dy: tf.Scalar, [probabilities, targets]: tf.Tensor[]) => {
        const share = tf.div(dy, N)
        const isTarget = tf.oneHot(targets, V, 1, 0, 'float32')
        return tf.mul(tf.sub(probabilities, isTarget), share)
      },
    }
  })
  return loss(logits)
}

/**
 * Load balancing of a layer, `E sum_e f_e P_e` (Switch Transformers, Fedus et al. 2021, eq. 4): f_e is the share of
 * assignments that went to expert e, P_e its mean probability. 1 when balanced. f_e is counted over the whole batch:
 * balance within each sequence would keep experts from specialising. logits [T, E].
 * Scores that are no probabilities (sigmoid) are divided by their sum first, as in DeepSeek-V3.
 */
export function balanceLoss(
  logits: tf.Tensor2D,
  tokensPerExpert: tf.Tensor1D,
  { scoring }: Pick<RouterConfig, 'scoring'>,
): tf.Scalar {
  return tf.tidy(() => {
    const E = logits.shape[1]
    const scaledShares = tf.div(tf.mul(tokensPerExpert, E), tf.sum(tokensPerExpert))
    const meanProbability = tf.mean(probabilities(logits, scoring), 0) // [E]
    return tf.sum(tf.mul(meanProbability, scaledShares))
  })
}

function probabilities(logits: tf.Tensor2D, scoring: RouterConfig['scoring']): tf.Tensor2D {
  if (scoring !== 'sigmoid') return tf.softmax(logits)
  const scores = tf.sigmoid(logits)
  return tf.div(scores, tf.sum(scores, 1, true))
}

/** `mean(logsumexp(z)^2)` keeps router logits small, so that float32 tells them apart (ST-MoE, Zoph et al. 2022, eq. 5). */
export function zLoss(logits: tf.Tensor2D): tf.Scalar {
  return tf.tidy(() => tf.mean(tf.square(tf.logSumExp(logits, 1))))
}

/**
 * Balancing without a loss (Wang et al. 2024, arXiv 2408.15664, algorithm 1; DeepSeek-V3): experts with fewer tokens than
 * the mean are chosen a little more easily from the next step on. In place: `bias_e += rate sign(mean - load_e)`.
 */
export function updateScoreBias(bias: Float32Array, tokensPerExpert: Int32Array, rate: number): void {
  const mean = sum(tokensPerExpert) / tokensPerExpert.length
  for (let e = 0; e < bias.length; e++) bias[e] += rate * Math.sign(mean - tokensPerExpert[e])
}
