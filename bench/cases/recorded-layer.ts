import * as tf from '@tensorflow/tfjs-core'
import type { Dtype, HalfDtype } from '../../src/backend/dtypes.ts'
import { holdRounded } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import type { Product } from '../../src/device/index.ts'
import { inHalf } from '../../src/graph/half.ts'
import { planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import type { Sessions } from '../../src/graph/sessions.ts'
import { digest } from './finish.ts'

/** Inputs up to this size are fed at every run; a larger one is a variable of the graph, so that no run copies it. */
const FED_UP_TO = 1024

/** A computation on `x` as one TensorFlow graph, in sessions that it shares with others or in one of its own: `dispose()` when done. */
export class RecordedComputation {
  private readonly session: GraphSession
  private readonly inputs: Record<string, tf.Tensor>
  private exchange: { dataIds: object[]; give(tensors: readonly tf.Tensor[]): void } | undefined

  /** `compute` runs once, to be recorded; with weights that are held in `dtype` it multiplies in that, where the plan has it so. */
  constructor(x: tf.Tensor2D, compute: () => tf.Tensor, dtype: Dtype = 'float32', sessions?: Sessions) {
    // As a constant a small x would let TensorFlow compute the result once and for all.
    this.inputs = x.size <= FED_UP_TO ? { x } : {}
    const scope = tf.engine()
    scope.startScope('recording')
    try {
      const plan = planFor({ rows: x.shape[0], dtype })
      const recording = record(this.inputs, () => ({ y: digest(compute()) }), plan)
      this.session = new GraphSession(
        plan.dtype === 'float32' ? recording : inHalf(recording, plan.dtype),
        plan,
        sessions,
      )
    } finally {
      scope.endScope()
    }
  }

  /** Has the graph read `now` where it was recorded with `then`. On a processor it shares their memory: nothing is copied. */
  use(then: readonly tf.Tensor[], now: readonly tf.Tensor[]): void {
    const others = new Map<object, tf.Tensor>(then.map(({ dataId }, i) => [dataId, now[i]]))
    if (!this.exchange) {
      const own = this.session.recording.variables.filter(({ tensor }) => others.has(tensor.dataId))
      this.exchange = {
        dataIds: own.map(({ tensor }) => tensor.dataId),
        give: this.session.exchange(own).give,
      }
    }
    const { dataIds, give } = this.exchange
    give(dataIds.map((dataId) => others.get(dataId)!))
  }

  /** Runs the graph: the result, or where that is large a sum over all of it. */
  run(): tf.Tensor {
    return this.session.run(this.inputs, ['y'])[0]
  }

  dispose(): void {
    this.session.dispose()
  }
}

/** The plain product of a square matrix with another, in half precision. */
export function halfProduct(dtype: HalfDtype): (square: tf.Tensor2D) => Product {
  return (square) => {
    const weight = holdRounded(activeTensorflow(), square, dtype)
    const product = () => tf.matMul(square, weight, false, true)
    const graph = new RecordedComputation(square, product, dtype)
    return {
      run: () => graph.run(),
      dispose: () => {
        graph.dispose()
        weight.dispose()
      },
    }
  }
}
