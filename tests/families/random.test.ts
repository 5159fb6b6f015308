import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { forwardFlops, totalFlops } from '../../src/cost/flops.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { startRuntime } from '../../src/device/index.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { meanColumnsMet } from '../../src/model/attention/mask.ts'
import type { AttentionShape } from '../../src/model/config.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { stepsOf } from '../../src/trace/steps-of.ts'
import { maxDifference } from '../helpers/golden.ts'
import { modelOfConfig, randomTokens } from '../helpers/random.ts'
import { ARCHITECTURES, smallConfig } from './arbitrary.ts'

/*
 * Any small model of any family, by four ways that are to agree: recorded, op by op, every expert on every token, and token by
 * token through the cache; beside padding; and what is counted of it.
 */

const SAME = 2e-4
/** Any router takes these. */
const CHANGES: Interventions = {
  temperature: 1.5,
  disable: [{ expert: 1 }],
  bias: [{ expert: 2, value: 0.1 }],
  force: [{ position: 3, experts: [0] }],
  capacity: { factor: 1.5, policy: 'drop' },
}
/** A fixed seed: of many decisions one may be so near that rounding decides it. */
const RUNS = { numRuns: 4, seed: 22 }
const T = 30 // more than fused kernels for few rows take

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** All logits, as numbers. */
function values({ logits }: { logits: tf.Tensor }): Float32Array {
  const numbers = logits.dataSync() as Float32Array
  logits.dispose()
  return numbers
}

function expectSame(actual: Float32Array, expected: Float32Array): void {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
  expect(maxDifference(actual, expected) / largest).toBeLessThan(SAME)
}

describe.each(ARCHITECTURES)('%s', (modelType) => {
  test('recorded, eager, dense dispatch and token by token give the same, padded or not', () => {
    fc.assert(
      fc.property(smallConfig(modelType), fc.nat(), (json, seed) => {
        const { config } = runnableConfig(json, 'config.json')
        const model = modelOfConfig(config, seed)
        const recorded = new RecordedExecutor(model)
        try {
          const tokens = randomTokens(T, config.vocabSize, seed + 1)
          const before = tf.memory().numTensors
          const whole = values(model.forward(tokens, { dispatch: 'sparse' }))
          expectSame(values(model.forward(tokens, { dispatch: 'dense' })), whole)
          expectSame(values(recorded.forward(tokens, {})), whole)
          const V = config.vocabSize
          for (const runs of [model, recorded] as Pick<MoeModel, 'forward'>[]) {
            const cache = model.createCache()
            const first = values(runs.forward(tokens.slice(0, 20), { cache }))
            const rest = tokens.slice(20).map((token) => values(runs.forward([token], { cache })))
            expectSame(Float32Array.from([...first, ...rest.flatMap((row) => [...row])]), whole)
            cache.dispose()
            const padded = values(runs.forward([tokens, tokens.slice(0, 9)], { logits: 'last' }))
            expectSame(padded.subarray(0, V), whole.subarray((T - 1) * V))
            expectSame(padded.subarray(V), whole.subarray(8 * V, 9 * V))
          }
          expect(tf.memory().numTensors).toBe(before)
        } finally {
          recorded.dispose()
          model.dispose()
        }
      }),
      RUNS,
    )
  }, 120_000)

  test('its tensors and products are what is counted, and every decision can be stepped through', () => {
    fc.assert(
      fc.property(smallConfig(modelType), fc.nat(), (json, seed) => {
        const { config } = runnableConfig(json, 'config.json')
        const model = modelOfConfig(config, seed)
        try {
          const tensors = leaves<tf.Tensor | Float32Array>(model.weights).filter(
            ([path]) => !path.includes('.stacked.'),
          )
          const stored = tensors.reduce(
            (sum, [, leaf]) => sum + (leaf instanceof tf.Tensor ? leaf.size : leaf.length),
            0,
          )
          expect(countParameters(config).total).toBe(stored)
          const tokens = randomTokens(T, config.vocabSize, seed)
          const { flops, result } = countMatmulFlops(() =>
            model.forward(tokens, { dispatch: 'sparse', trace: true }),
          )
          result.logits.dispose()
          const context = (attention: AttentionShape) =>
            meanColumnsMet(T, {
              slidingWindow: attention.kind === 'grouped' ? attention.slidingWindow : null,
            })
          const shape = { tokens: T, context, logitRows: T, dispatch: 'sparse' as const }
          expect(flops).toBe(Math.round(totalFlops(forwardFlops(config, shape))))
          const changed = model.forward(tokens, {
            trace: true,
            ...(result.trace.layers.length > 0 && { interventions: CHANGES }),
          })
          changed.logits.dispose()
          for (const trace of [result.trace, changed.trace]) {
            for (const { layer } of trace.layers) {
              // Throws unless the steps come to what was recorded.
              expect(stepsOf(model, trace, layer).map(({ name }) => name)).toContain('renormalise')
            }
          }
        } finally {
          model.dispose()
        }
      }),
      RUNS,
    )
  })
})
