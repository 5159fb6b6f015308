import * as tf from '@tensorflow/tfjs-core'
import { expect } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import type { Routing } from '../../src/model/router/types.ts'
import type { DispatchName } from '../../src/model/ways.ts'
import { randomExpert, randomNumbers } from '../helpers/random.ts'
import { moeWeights, TOKENS } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

/** Runs the layer of three experts on tokens A, B, C, and notes how many rows each product with an expert had. */
function dispatch(name: DispatchName, K: number): { rows: number[]; routing: Routing } {
  const next = randomNumbers(1) // what the experts compute does not matter here, only for whom
  const weights = moeWeights([1, 2, 3].map(() => randomExpert(2, 1, next)))
  const config = { kind: 'moe' as const, intermediateSize: 1, router: softmaxTopK(3, K) }
  const x = tf.tensor2d(TOKENS)
  const logits = linear(x, weights.router)
  const { result, matmuls } = countMatmulFlops(() => routeAndDispatch(x, logits, weights, config, name))
  // An expert is two products, gate and up in one and then down, with the weights on the left: a token is a column.
  const rows = matmuls.filter((_, i) => i % 2 === 1).map(({ n }) => n)
  return { rows, routing: result.routing as Routing }
}

lesson('3. Dispatch', (tell) => {
  // Lesson 2 sent A to experts 2 and 1, B to 1 and 2, C to 1 and 0. Turned round: which tokens does each expert get?
  const sparse = dispatch('sparse', 2)
  expect([...sparse.routing.expertIndices]).toEqual([2, 1, 1, 2, 1, 0])
  expect([...sparse.routing.tokensPerExpert]).toEqual([1, 3, 2])
  tell(
    'Lesson 2 sent A to experts 2 and 1, B to 1 and 2, C to 1 and 0. Dispatch turns this round and gives each expert its ' +
      `tokens: expert 0 gets C, expert 1 gets A, B and C, expert 2 gets A and B. So many each: ${show(sparse.routing.tokensPerExpert)}; ` +
      'together T · K = 3 · 2 = 6.',
  )

  // Sparse: one product an expert, with the rows of its tokens. Counted from the products that really ran.
  expect(sparse.rows).toEqual([1, 3, 2])
  // Dense: every expert on every token; what was not chosen is multiplied by zero afterwards.
  const dense = dispatch('dense', 2)
  expect(dense.rows).toEqual([3, 3, 3])
  // Gather: one assignment at a time, in the order of the tokens; nothing to sort, good for a single token.
  const gather = dispatch('gather', 2)
  expect(gather.rows).toEqual([1, 1, 1, 1, 1, 1])
  tell('The engine has three ways to run this. They differ in the rows that experts are multiplied with:')
  const total = (rows: number[]) => rows.reduce((a, b) => a + b, 0)
  expect([sparse, dense, gather].map(({ rows }) => total(rows))).toEqual([6, 9, 6])
  tell(
    table(
      ['dispatch', 'rows of each product', 'rows in all', 'why'],
      [
        ['dense', show(dense.rows), total(dense.rows), 'every expert on every token: T · E'],
        ['sparse', show(sparse.rows), total(sparse.rows), 'tokens grouped by expert: T · K'],
        ['gather', show(gather.rows), total(gather.rows), 'one choice at a time: T · K, for few tokens'],
      ],
    ),
  )

  // With K = 1 nobody chooses expert 0, and the sparse dispatch never touches its weights.
  const top1 = dispatch('sparse', 1)
  expect([...top1.routing.tokensPerExpert]).toEqual([0, 2, 1])
  expect(top1.rows).toEqual([2, 1])
  tell(
    `**Idle experts.** With K = 1 the counts are ${show(top1.routing.tokensPerExpert)}. Expert 0 has no token, so the sparse dispatch ` +
      `runs two products, of ${top1.rows[0]} rows and ${top1.rows[1]} row, and never reads the weights of expert 0.`,
  )
})
