import * as tf from '@tensorflow/tfjs-core'
import { expect } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { flopsPerToken, moeLayerFlops, totalFlops } from '../../src/cost/flops.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { randomModel } from '../helpers/random.ts'
import { lesson, show, table } from './lesson.ts'

lesson('8. FLOPs', (tell) => {
  // One product [m, k] x [k, n] makes m n numbers, each of k multiplications and k additions.
  const product = countMatmulFlops(() => tf.matMul(tf.ones([3, 2]), tf.ones([2, 4])))
  expect(product.flops).toBe(2 * 3 * 2 * 4)
  tell(
    'A matrix product of 3 x 2 and 2 x 4 makes 3 · 4 = 12 numbers, each from 2 multiplications and 2 additions: ' +
      `2 · 3 · 2 · 4 = ${product.flops} FLOPs. The engine can count the products that really run, with their real shapes; here it counted ${product.flops}.`,
  )

  // One mixture layer: T = 3 tokens, D = 2, H = 3, E = 4, K = 1.
  const dims = { T: 3, D: 2, H: 3, E: 4, K: 1 }
  const router = 2 * 3 * 2 * 4 // T rows, D x E
  const row = 2 * 3 * (2 * 3) // one token through one expert: three matrices of D H
  expect(moeLayerFlops(dims, 'sparse')).toBe(router + 3 * row)
  expect(moeLayerFlops(dims, 'dense')).toBe(router + 12 * row)
  tell(
    `A layer with T = 3, D = 2, H = 3, E = 4, K = 1: the router costs 2 · T · D · E = ${router}, and each row through an expert ` +
      `2 · 3 · D · H = ${row}. Sparse runs T · K = 3 rows, dense T · E = 12.`,
  )
  tell(
    table(
      ['dispatch', 'by hand', 'FLOPs'],
      [
        ['sparse', `${router} + 3 · ${row}`, moeLayerFlops(dims, 'sparse')],
        ['dense', `${router} + 12 · ${row}`, moeLayerFlops(dims, 'dense')],
      ],
    ),
  )

  // A whole forward of one token, counted while it runs, against the formula: the model of lesson 7.
  const model = randomModel({ layers: 1, D: 2, H: 3, E: 4, K: 1, V: 5, heads: 1, kvHeads: 1 })
  const formula = flopsPerToken(model.config, 1, 'sparse')
  expect(formula).toMatchObject({
    attentionProjections: 32,
    attentionScores: 8,
    router: 16,
    experts: 36,
    unembedding: 20,
  })
  const counted = countMatmulFlops(() => model.forward([3], { dispatch: 'sparse' }))
  expect(counted.flops).toBe(totalFlops(formula))
  expect(counted.flops).toBe(112)
  tell(
    `The whole model of lesson 7 on one token: attention ${show(formula.attentionProjections)} + ${show(formula.attentionScores)}, ` +
      `router ${show(formula.router)}, experts ${show(formula.experts)}, unembedding ${show(formula.unembedding)}, together ${totalFlops(formula)}. ` +
      `Counted while the model ran: ${counted.flops}.`,
  )

  // The rule of thumb: two FLOPs for each active weight that is a matrix, plus attention to the context.
  const { active, parts } = countParameters(model.config)
  expect(2 * (active - parts.embedding - parts.norms) + formula.attentionScores).toBe(112)
  tell(
    `**Rule of thumb.** Each active weight in a matrix is used in one multiplication and one addition: 2 · (${active} - ${parts.embedding} - ${parts.norms}) = ` +
      `${2 * (active - parts.embedding - parts.norms)}, without embedding (a look-up) and norms. The ${formula.attentionScores} left are attention's scores, which grow with the context.`,
  )
  model.dispose()
})
