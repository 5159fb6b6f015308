import * as tf from '@tensorflow/tfjs-core'
import { keysAndValues } from '../model/attention/grouped.ts'
import type { KeysValues } from '../model/attention/kind.ts'
import type { ModelConfig } from '../model/config.ts'
import { decode, unembed } from '../model/decoder.ts'
import { type DispatchName, mixtureLayer } from '../model/dispatch/index.ts'
import { allTensors, type ModelWeights } from '../model/weights.ts'
import { type Recording, record } from './recorder.ts'

/** Dispatches whose graph is the same for any number of tokens. */
export type ServingDispatch = Exclude<DispatchName, 'gather'>

/** What a caller of an exported model chooses anew with every call. */
export interface Sizes {
  /** B: sequences */
  batch: number
  /** T: new tokens of each */
  tokens: number
  /** S: columns of the cache that are handed in */
  past: number
}

/**
 * One forward of these sizes with the kv-cache as plain inputs and outputs. Inputs: tokens [B T], cos and sin
 * [1, T, 1, n], mask [1, 1, G T, S+T], past_keys and past_values [L, B, Nk, S, d]. Outputs: logits [B, T, V], keys and
 * values [L, B, Nk, S+T, d].
 */
export function recordServing(
  config: ModelConfig,
  weights: ModelWeights,
  { batch: B, tokens: T, past: S }: Sizes,
  dispatch: ServingDispatch,
): Recording {
  const { numHeads, numKeyValueHeads: Nk, headDim } = config.layers[0].attention
  const n = config.layers[0].attention.rope.rotaryDim ?? headDim
  const L = config.layers.length
  const scope = tf.engine()
  scope.startScope('export')
  try {
    const inputs = {
      tokens: tf.zeros<tf.Rank.R1>([B * T], 'int32'),
      cos: tf.ones<tf.Rank.R4>([1, T, 1, n]),
      sin: tf.zeros<tf.Rank.R4>([1, T, 1, n]),
      mask: tf.zeros<tf.Rank.R4>([1, 1, (numHeads / Nk) * T, S + T]),
      past_keys: tf.zeros<tf.Rank.R5>([L, B, Nk, S, headDim]),
      past_values: tf.zeros<tf.Rank.R5>([L, B, Nk, S, headDim]),
    }
    const all = new Set(allTensors(weights).map(({ dataId }) => dataId))
    const build = () => {
      const cache = new PassedCache(inputs.past_keys, inputs.past_values)
      const whole = { tokens: T, mask: inputs.mask, cut: (all: tf.Tensor4D) => all } // any T: how many blocks would be fixed
      const x = decode(config, weights, {
        tokens: inputs.tokens,
        attention: { batch: B, rope: () => inputs, blocks: () => [whole], cache, normEps: config.normEps },
        padding: null,
        routing: {
          run: (rows, moe, layerConfig, layer) =>
            mixtureLayer(rows, moe, layerConfig, dispatch, { place: { layer } }).output,
        },
      })
      const logits = tf.reshape(unembed(x, weights), [B, T, config.vocabSize])
      const outputs = { logits, keys: tf.stack(cache.keys), values: tf.stack(cache.values) }
      tf.dispose([cache.keys, cache.values])
      return outputs
    }
    return record(inputs, build, { isVariable: ({ dataId }) => all.has(dataId) })
  } finally {
    scope.endScope()
  }
}

/** A kv-cache that comes in as one tensor and goes out as one. */
class PassedCache {
  readonly keys: tf.Tensor4D[] = []
  readonly values: tf.Tensor4D[] = []
  private readonly past: { keys: tf.Tensor4D[]; values: tf.Tensor4D[] }

  constructor(keys: tf.Tensor5D, values: tf.Tensor5D) {
    this.past = { keys: tf.unstack(keys) as tf.Tensor4D[], values: tf.unstack(values) as tf.Tensor4D[] }
  }

  append(layer: number, added: tf.Tensor4D): KeysValues {
    const { keys, values } = keysAndValues(added)
    // Kept: the block's tidy would take them before they are stacked.
    this.keys.push(tf.keep(tf.concat([this.past.keys[layer], keys], 2)))
    this.values.push(tf.keep(tf.concat([this.past.values[layer], values], 2)))
    return { keys: this.keys[layer], values: this.values[layer] }
  }
}
