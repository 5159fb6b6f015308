import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { packWeights } from '../../src/checkpoint/pack.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { forwardFlops, totalFlops } from '../../src/cost/flops.ts'
import { inspectModel } from '../../src/cost/inspection.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { partsOf } from '../../src/model/attention/attend.ts'
import { ATTENTION_FACTS, type AttentionFacts } from '../../src/model/attention/facts.ts'
import { ATTENTION } from '../../src/model/attention/index.ts'
import type { AttentionKind } from '../../src/model/attention/kind.ts'
import { meanColumnsMet } from '../../src/model/attention/mask.ts'
import type { AttentionConfig, LayerConfig, ModelConfig } from '../../src/model/config.ts'
import { linear } from '../../src/model/linear.ts'
import type { TensorSpec } from '../../src/model/tensor-spec.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import type { GroupedWeights } from '../../src/model/weights.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomModel, randomNumbers, randomTokens } from '../helpers/random.ts'

/*
 * A new kind of attention is a file of its own, the mapping of a config to it, and the facts of its shape: tensors and cost. This one looks at all that
 * it may see alike: the mean of the values so far.
 */

interface MeanAttention {
  kind: 'mean'
  /** d */
  width: number
}

const mean: AttentionKind<MeanAttention, GroupedWeights> = {
  cached: ({ width }) => ({ parts: 1, heads: 1, width, slidingWindow: null }),
  layers({ width }, { batch: B, blocks, cache }) {
    const blocksOf = blocks({ slidingWindow: null, groups: 1 })
    return (x, weights, layer) =>
      tf.tidy(() => {
        const T = x.shape[0] / B
        const added = tf.reshape(linear(x, weights.qkv), [B, T, 1, width]) as tf.Tensor4D
        const [values] = cache.append(layer, added)
        const mixed = blocksOf.map(({ tokens, cut, mask }) => {
          const seen = cut(values) // [B, 1, C, d]
          const shares = tf.softmax(mask ?? tf.zeros([1, 1, tokens, seen.shape[2]])) // [B or 1, 1, T', C]
          return tf.matMul(tf.tile(shares, [B / shares.shape[0], 1, 1, 1]), seen) // [B, 1, T', d]
        })
        return linear(tf.reshape(tf.concat(mixed, 2), [B * T, width]), weights.output)
      })
  },
}

const facts: AttentionFacts<MeanAttention> = {
  tensors: ({ width }, D, names) => ({
    qkv: names.linear({ v: [width, D] }),
    output: names.linear({ o: [D, width] }),
  }),
  cached: ({ width }) => width,
  state: () => 0,
  scores: ({ width }, keys) => 2 * keys * width,
}

const tables = [ATTENTION, ATTENTION_FACTS] as Record<string, unknown>[]

beforeAll(async () => {
  tables.forEach((table, i) => {
    table.mean = [mean, facts][i]
  })
  await startRuntime({ device: 'cpu' })
})
afterAll(() => {
  for (const table of tables) delete table.mean
})

/** Layers by kind, with mixtures behind each. */
function configOf(...kinds: ('mean' | 'grouped' | 'windowed')[]): ModelConfig {
  const base = randomModel({ layers: 1 })
  const [{ feedForward }] = base.config.layers
  const attentions = {
    mean: { kind: 'mean', width: 6 } as unknown as AttentionConfig,
    grouped: groupedAttention(),
    windowed: groupedAttention({
      numHeads: 4,
      slidingWindow: 3,
      rope: { theta: 50, scaling: { type: 'default' } },
    }),
  }
  const layers = kinds.map((kind): LayerConfig => ({ attention: attentions[kind], feedForward }))
  base.dispose()
  return { ...base.config, layers }
}

function modelOf(config: ModelConfig): MoeModel {
  const next = randomNumbers(7)
  const read = (_: unknown, target: Float32Array) => {
    for (let i = 0; i < target.length; i++) target[i] = 0.4 * next()
  }
  return new MoeModel(config, packWeights(weightTable(config), read))
}

describe.each([
  ['the new kind alone', ['mean', 'mean']],
  ['kinds, windows and rotary settings by layer', ['grouped', 'mean', 'windowed', 'grouped']],
] as const)('%s', (_, kinds) => {
  test('a prompt run whole is the same prompt run token by token, and recorded', () => {
    const model = modelOf(configOf(...kinds))
    const recorded = new RecordedExecutor(model)
    const tokens = randomTokens(70, 40, 3) // more than a block
    const before = tf.memory().numTensors
    const whole = model.forward(tokens)
    const graph = recorded.forward(tokens, {})
    expect(maxDifference(graph.logits.dataSync(), whole.logits.dataSync())).toBeLessThan(1e-4)
    const cache = model.createCache()
    const steps = tokens.map((token) => model.forward([token], { cache }).logits)
    const stepped = tf.concat(steps)
    expect(maxDifference(stepped.dataSync(), whole.logits.dataSync())).toBeLessThan(1e-4)
    tf.dispose([whole.logits, graph.logits, stepped, steps])
    cache.dispose()
    expect(tf.memory().numTensors).toBe(before)
    recorded.dispose()
    model.dispose()
  })

  test('is counted as its tensors and its products are', () => {
    const config = configOf(...kinds)
    const model = modelOf(config)
    const T = 9
    const { flops } = countMatmulFlops(() => model.forward(randomTokens(T, 40, 1)).logits.dispose())
    const context = (attention: { slidingWindow?: number | null }) =>
      meanColumnsMet(T, { slidingWindow: attention.slidingWindow ?? null })
    const shape = { tokens: T, context: context as never, logitRows: T, dispatch: 'sparse' as const }
    expect(flops).toBe(totalFlops(forwardFlops(config, shape)))
    const stored = weightTable(config)
    expect(countParameters(config).parts.attention).toBe(
      stored.blocks.reduce(
        (sum, { attention }) =>
          sum + leaves<TensorSpec>(attention).reduce((all, [, { size }]) => all + size, 0),
        0,
      ),
    )
    const { bytesPerToken } = inspectModel(config, { context: 8, dtype: 'float32', batches: [1] })
    const numbers = { mean: 6, grouped: 2 * 4, windowed: 2 * 4 }
    expect(bytesPerToken.cacheWritten).toBe(4 * kinds.reduce((sum, kind) => sum + numbers[kind], 0))
    model.dispose()
  })
})

test('the new kind is the mean of the values so far, by hand', () => {
  const config = configOf('mean')
  const model = modelOf(config)
  const attention = model.weights.blocks[0].attention as GroupedWeights
  tf.tidy(() => {
    const x = tf.tensor2d(
      [3, 1, 4, 1, 5].flatMap((n) => Array.from({ length: 16 }, (_, d) => Math.sin(n * (d + 1)))),
      [5, 16],
    )
    const layer = mean.layers(config.layers[0].attention as never, {
      batch: 1,
      length: 5,
      normEps: 1e-5,
      rope: () => expect.unreachable(),
      positions: () => expect.unreachable(),
      blocks: () => [{ tokens: 5, cut: (all) => all, mask: causal(5) }],
      cache: { append: (_, added) => partsOf(added, 1) },
    })
    const values = linear(x, attention.qkv).arraySync() // [5, 6]
    const means = values.map((_, t) =>
      values[0].map((_, d) => values.slice(0, t + 1).reduce((sum, row) => sum + row[d], 0) / (t + 1)),
    )
    const expected = linear(tf.tensor2d(means), attention.output)
    expect(maxDifference(layer(x, attention, 0).dataSync(), expected.dataSync())).toBeLessThan(1e-5)
  })
  model.dispose()
})

function causal(T: number): tf.Tensor4D {
  const values = Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e30 : 0))
  return tf.tensor4d(values, [1, 1, T, T])
}
