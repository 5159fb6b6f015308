import * as tf from '@tensorflow/tfjs-core'
import { InputError } from '../../errors.ts'
import { applyExpert } from '../../model/experts.ts'
import { rmsNorm } from '../../model/norm.ts'
import type { MoeModel } from '../../model/transformer.ts'
import type { ExpertWeights } from '../../model/weights.ts'
import { chosenExperts } from '../../trace/statistics.ts'
import type { Vectors } from './protocol.ts'

/** What one token is before, inside and after a mixture layer: the layer's steps, with the model's own functions. */
export function vectorsOf(model: MoeModel, tokens: number[], layer: number, row: number): Vectors {
  const { config, weights } = model
  const block = weights.blocks[layer]
  const { feedForward } = block
  if (feedForward.kind !== 'moe') throw new InputError(`layer: ${layer} has no router`)
  const { logits, trace } = model.forward(tokens, { trace: { hiddenStates: true }, logits: 'last' })
  logits.dispose()
  const D = config.hiddenSize
  const hidden = trace.hiddenStates!
  const of = (values: Float32Array) => values.slice(row * D, (row + 1) * D)
  const before = layer === 0 ? hidden.embed : hidden.layers[layer - 1].output
  const routed = trace.layers.find((own) => own.layer === layer)!
  const experts = chosenExperts(routed, row)
  const { topK: K } = routed
  return inOneTidy(() => {
    const attended = tf.add(of(before), of(hidden.layers[layer].attention))
    const x = rmsNorm(tf.reshape(attended, [1, D]) as tf.Tensor2D, block.feedForwardNorm, config.normEps)
    const through = (expert: ExpertWeights) => applyExpert(x, expert).dataSync() as Float32Array
    return {
      embedding: of(hidden.embed),
      input: x.dataSync() as Float32Array,
      experts,
      weights: [...routed.expertWeights.subarray(row * K, row * K + experts.length)],
      outputs: experts.map((e) => through(feedForward.experts[e])),
      shared: feedForward.shared ? through(feedForward.shared) : null,
      combined: of(hidden.layers[layer].feedForward),
    }
  })
}

/** `tf.tidy` for work that hands out no tensors. */
function inOneTidy<R>(work: () => R): R {
  let result: R | undefined
  tf.tidy(() => {
    result = work()
  })
  return result as R
}
