import type { Dtype } from '../../src/backend/dtypes.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { planFor } from '../../src/graph/plan.ts'
import type { GraphNode } from '../../src/graph/protobuf.ts'
import { planned } from '../../src/graph/session.ts'
import { recordStep, type StepShape } from '../../src/graph/step.ts'
import type { MoeModel } from '../../src/model/transformer.ts'

/** A step's graph as a card would be given it. */
export interface CardStep {
  nodes: GraphNode[]
  /** Names of the nodes that are fed. */
  fed: string[]
  /** References to what is fetched. */
  fetched: string[]
}

/** Runs `work` with the processor's TensorFlow claiming to use a card, so that graphs are made as for one. */
export function asOnCard<T>(work: () => T): T {
  const node = activeTensorflow()
  const before = node.isUsingGpuDevice
  node.isUsingGpuDevice = true
  try {
    return work()
  } finally {
    node.isUsingGpuDevice = before
  }
}

/** Records one step of a model as on a card, on a machine without. `wanted`: what is fetched, as RecordedStep names it. */
export function cardStep(
  model: MoeModel,
  shape: StepShape,
  dtype: Dtype = 'float32',
  wanted: string[] = ['greedy'],
): CardStep {
  return asOnCard(() => {
    const plan = planFor({ rows: shape.batch * shape.tokens, dtype })
    const recording = recordStep(model.config, model.weights, shape, plan)
    return {
      nodes: planned(recording, plan).nodes,
      fed: Object.keys(recording.inputs),
      fetched: wanted.map((name) => recording.outputs[name].ref),
    }
  })
}
