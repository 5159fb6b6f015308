import * as tf from '@tensorflow/tfjs-core'
import { expect } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { chooseProducts, fuse } from '../../src/graph/kernels.ts'
import { planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'

/** Runs `f` eagerly, by a graph with fused kernels, and tells which ones that graph has. Only `f`'s operands may vary. */
export function byKernels(
  inputs: Record<string, tf.Tensor>,
  f: (inputs: Record<string, tf.Tensor>) => tf.Tensor,
  plan = planFor({ rows: 1 }),
): { kernels: string[]; actual: Float32Array; eager: Float32Array; flops: [graph: number, eager: number] } {
  const before = tf.memory().numTensors
  const seen = tf.tidy(() => {
    const zeros = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, tf.zerosLike(x)]))
    const recording = record(zeros, () => ({ y: tf.tidy(() => f(zeros)) }), plan)
    const session = new GraphSession(recording, plan)
    const graph = countMatmulFlops(() => session.run(inputs, ['y']))
    const eager = countMatmulFlops(() => f(inputs))
    expect(graph.result[0].shape).toEqual(eager.result.shape)
    session.dispose()
    const { nodes } = chooseProducts(fuse(recording, { ...plan, expertParts: 1 }), plan)
    const fused = nodes.filter(({ op }) => op.startsWith('Tinymoe'))
    return {
      kernels: fused.map(({ op }) => op),
      actual: graph.result[0].dataSync() as Float32Array,
      eager: eager.result.dataSync() as Float32Array,
      flops: [graph.flops, eager.flops] as [number, number],
    }
  })
  expect(tf.memory().numTensors).toBe(before)
  return seen
}

/** Of a mixture layer whose logits are given. */
export const NO_ROUTER = {
  kind: 'moe',
  router: { weight: null as never, bias: null },
  scoreBias: null,
} as const
