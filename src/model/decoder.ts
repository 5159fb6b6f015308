import * as tf from '@tensorflow/tfjs-core'
import { attentionLayers } from './attention/index.ts'
import type { AttentionCall } from './attention/kind.ts'
import { type ModelConfig, type MoeConfig, mixtureAt } from './config.ts'
import { applyExpert } from './experts.ts'
import { linear } from './linear.ts'
import { decoderNorm } from './norm.ts'
import type { TraceRecorder } from './trace.ts'
import type { ModelWeights, MoeWeights } from './weights.ts'

/** One call's tensors and helpers: everything in it was prepared outside, so that the story below is tensors only. */
export interface DecoderCall {
  /** [B T] int32 */
  tokens: tf.Tensor1D
  attention: AttentionCall
  /** Which of the B T rows hold tokens, and where each row's result then stands; null when all do. */
  padding: { realRows: tf.Tensor1D; place: tf.Tensor1D } | null
  /** Router and experts of a mixture layer: x [T, D] -> [T, D]. */
  routing: { run(x: tf.Tensor2D, weights: MoeWeights, config: MoeConfig, layer: number): tf.Tensor2D }
  recorder?: TraceRecorder | null
}

/** embed -> blocks (attention, then feed-forward or router and experts) -> norm: the last hidden states [B T, D]. */
export function decode(config: ModelConfig, weights: ModelWeights, call: DecoderCall): tf.Tensor2D {
  const norm = decoderNorm(config)
  const { embedding = 1, residual = 1 } = config.multipliers ?? {}
  let x = times(tf.gather(weights.embedding, call.tokens) as tf.Tensor2D, embedding) // [B T, D]
  call.recorder?.embed(x)
  const attentions = attentionLayers(config.layers, call.attention)
  weights.blocks.forEach((block, layer) => {
    x = tf.tidy(() => {
      const normed = norm(x, block.attentionNorm)
      const mixed = attentions[layer](normed, block.attention, layer) // [B T, D]
      const attended = tf.add(x, times(mixed, residual)) as tf.Tensor2D
      const fedIn = norm(attended, block.feedForwardNorm)
      const fed = withoutPadding(fedIn, call, (real) =>
        block.feedForward.kind === 'dense'
          ? applyExpert(real, block.feedForward.expert)
          : call.routing.run(real, block.feedForward, mixtureAt(config, layer), layer),
      )
      const output = tf.add(attended, times(fed, residual)) as tf.Tensor2D // [B T, D]
      call.recorder?.layer(mixed, fed, output)
      return output
    })
  })
  const last = norm(x, weights.finalNorm)
  call.recorder?.finalNorm(last)
  return last
}

/** Hidden states [T, D] to logits [T, V]; the tied form puts the large matrix on the left, where none is transposed. */
export function unembed(
  x: tf.Tensor2D,
  { unembedding, embedding }: ModelWeights,
  { multipliers }: Pick<ModelConfig, 'multipliers'>,
): tf.Tensor2D {
  const logits: tf.Tensor2D = unembedding
    ? linear(x, unembedding)
    : tf.transpose(tf.matMul(embedding, x, false, true))
  return times(logits, multipliers?.logits ?? 1)
}

function times(x: tf.Tensor2D, factor: number): tf.Tensor2D {
  return factor === 1 ? x : tf.mul(x, factor)
}

/** The last row of each of B sequences of T: [B T, D] -> [B, D]. Padding is on the left, so it is always a token. */
export function lastRows(x: tf.Tensor2D, B: number, T: number): tf.Tensor2D {
  if (T === 1) return x
  const D = x.shape[1]
  return tf.reshape(tf.slice(tf.reshape(x, [B, T, D]), [0, T - 1, 0], [B, 1, D]), [B, D])
}

/** Runs `f` on the rows that hold tokens; padding rows become zeros. */
function withoutPadding(
  x: tf.Tensor2D,
  { padding }: DecoderCall,
  f: (real: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor2D {
  if (!padding) return f(x)
  const real = f(tf.gather(x, padding.realRows))
  return tf.gather(tf.concat([real, tf.zeros<tf.Rank.R2>([1, x.shape[1]])], 0), padding.place)
}
