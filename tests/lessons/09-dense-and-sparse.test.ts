import * as tf from '@tensorflow/tfjs-core'
import { expect } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { type MoeConfig, softmaxTopK } from '../../src/model/config.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import type { DispatchName } from '../../src/model/ways.ts'
import type { MoeWeights } from '../../src/model/weights.ts'
import { fixtureModel, maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'
import { lesson, table } from './lesson.ts'

const [T, D, H, E, K] = [16, 4, 8, 8, 2]

lesson('9. Dense against sparse', (tell) => {
  // One layer of eight experts, two a token, with random weights.
  const next = randomNumbers(9)
  const weights: MoeWeights = {
    kind: 'moe',
    router: { weight: tf.tensor2d(randomMatrix(D, E, next)), bias: null },
    scoreBias: null,
    experts: Array.from({ length: E }, () => expertTensors(randomExpert(D, H, next))),
  }
  const config: MoeConfig = { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) }
  const x = tf.tensor2d(randomMatrix(T, D, next))
  const logits = tf.tensor2d(randomMatrix(T, E, next, 3))
  const run = (dispatch: DispatchName) => {
    const counted = countMatmulFlops(() => routeAndDispatch(x, logits, weights, config, dispatch))
    return { y: counted.result.output.dataSync(), flops: counted.flops }
  }

  // The same numbers come out.
  const [dense, sparse] = [run('dense'), run('sparse')]
  expect(maxDifference(sparse.y, dense.y)).toBeLessThan(1e-5)
  expect(maxDifference(dense.y, new Float32Array(T * D))).toBeGreaterThan(0.1) // and they are not all zero
  tell(
    `A layer of E = ${E} experts with K = ${K} a token, D = ${D}, H = ${H}, on T = ${T} tokens, run both ways. The results are the same ` +
      '(to float32 rounding): dense computes what nobody chose and multiplies it by zero, sparse leaves it out.',
  )

  // E/K times the work: 16 x 8 rows against 16 x 2.
  const row = 2 * 3 * D * H
  expect(row).toBe(192)
  expect(dense.flops).toBe(T * E * row)
  expect(sparse.flops).toBe(T * K * row)
  expect(dense.flops / sparse.flops).toBe(E / K)
  tell(
    table(
      ['dispatch', 'rows through experts', "experts' FLOPs, counted"],
      [
        ['dense', `T · E = ${T * E}`, dense.flops],
        ['sparse', `T · K = ${T * K}`, sparse.flops],
        ['dense / sparse', `E / K = ${E / K}`, dense.flops / sparse.flops],
      ],
    ),
  )

  // In a whole model the rest does not shrink: attention, routers and the unembedding run for every token either way.
  const model = fixtureModel('mixtral')
  const tokens = [5, 17, 42, 99, 3, 64, 128, 7, 81, 150]
  const forward = (dispatch: DispatchName) => {
    const counted = countMatmulFlops(() => model.forward(tokens, { dispatch }))
    return { logits: counted.result.logits.dataSync(), flops: counted.flops }
  }
  const [all, chosen] = [forward('dense'), forward('sparse')]
  expect(maxDifference(chosen.logits, all.logits)).toBeLessThan(1e-4)
  const expertRow = 2 * 3 * 32 * 40
  const projections = 3 * 2 * 10 * 32 * (2 * 4 + 2 * 2) * 8 // layers, D = 32, four query and two key-value heads of 8
  const scores = 3 * 2 * 2 * 10 * 10 * 32
  const routers = 3 * 2 * 10 * 32 * 8
  const unembedding = 2 * 10 * 32 * 160
  const rest = projections + scores + routers + unembedding
  expect(rest).toBe(340_480)
  expect(all.flops).toBe(rest + 3 * 10 * 8 * expertRow)
  expect(chosen.flops).toBe(rest + 3 * 10 * 2 * expertRow)
  expect((all.flops / chosen.flops).toFixed(2)).toBe('2.73')
  tell(
    `A whole small Mixtral (3 layers, E = 8, K = 2) on ${tokens.length} tokens: the same logits, ${all.flops} FLOPs dense and ${chosen.flops} sparse. ` +
      `That is ${(all.flops / chosen.flops).toFixed(2)} times and not 4, because attention, routers and the unembedding, ${rest} FLOPs, are the same either way.`,
  )

  tell(
    '**And the time?** Not asserted here, because it does not follow from FLOPs alone. Sparse has to sort tokens by expert, gather their rows and ' +
      'put the results back; its products have fewer rows each, so a weight that is read serves fewer tokens; and every product costs a start, however ' +
      'small. The times are therefore seldom E / K apart. `tinymoe bench` measures them on your machine.',
  )
  model.dispose()
})
