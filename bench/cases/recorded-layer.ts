import * as tf from '@tensorflow/tfjs-core'
import { planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { digest } from './finish.ts'

/** Inputs up to this size are fed at every run; a larger one is a variable of the graph, so that no run copies it. */
const FED_UP_TO = 1024

/** A computation on `x` as one TensorFlow graph. Holds a session: `dispose()` when done. */
export class RecordedComputation {
  private readonly session: GraphSession
  private readonly inputs: Record<string, tf.Tensor>

  /** `compute` runs once, to be recorded. */
  constructor(x: tf.Tensor2D, compute: () => tf.Tensor) {
    // As a constant a small x would let TensorFlow compute the result once and for all.
    this.inputs = x.size <= FED_UP_TO ? { x } : {}
    const scope = tf.engine()
    scope.startScope('recording')
    try {
      const plan = planFor({ rows: x.shape[0] })
      this.session = new GraphSession(
        record(this.inputs, () => ({ y: digest(compute()) }), plan),
        plan,
      )
    } finally {
      scope.endScope()
    }
  }

  /** Runs the graph: the result, or where that is large a sum over all of it. */
  run(): tf.Tensor {
    return this.session.run(this.inputs, ['y'])[0]
  }

  dispose(): void {
    this.session.dispose()
  }
}
