import * as tf from '@tensorflow/tfjs-core'
import { withSessionConfig } from '../backend/session-options.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { messageOf } from '../errors.ts'
import { onCard } from './card.ts'
import { chooseProducts, fuse } from './kernels.ts'
import { type Plan, planFor } from './plan.ts'
import { encodeSavedModel, encodeSessionConfig } from './protobuf.ts'
import type { Recording } from './recorder.ts'
import { savedModelInMemory } from './saved-model-memory.ts'
import { sideBySide } from './side-by-side.ts'

/** A graph made of another that computes the same, as the plan wants it run. */
type Pass = (graph: Recording, plan: Plan) => Recording

/** What a recording goes through before TensorFlow gets it. */
const PASSES: readonly Pass[] = [onCard, sideBySide, fuse, chooseProducts]

/** The graph that TensorFlow gets for a recording. */
export function planned(recording: Recording, plan: Plan): Recording {
  return PASSES.reduce((graph, pass) => pass(graph, plan), recording)
}

/** A recorded graph loaded into TensorFlow. Owns the session: `dispose()` when done. */
export class GraphSession {
  private readonly node = activeTensorflow()
  private readonly id: number

  /** `recording`: the steps, for whoever asks what a run does, also where others stand in their place. */
  constructor(
    readonly recording: Recording,
    plan = planFor(),
  ) {
    this.id = this.load(planned(recording, plan), plan)
    try {
      this.assign(Object.fromEntries(recording.variables.map(({ name, tensor }) => [name, tensor])))
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** Runs the graph: inputs by name, the named outputs back. The caller disposes them. */
  run(inputs: Record<string, tf.Tensor>, outputs: string[]): tf.Tensor[] {
    return this.execute(
      inputs,
      outputs.map((name) => this.recording.outputs[name].ref),
    )
  }

  /** The same for any nodes of the graph, by their names there. Counting of FLOPs watches this method. */
  execute(inputs: Record<string, tf.Tensor>, refs: string[]): tf.Tensor[] {
    const names = Object.keys(this.recording.inputs)
    return this.node.runSavedModel(
      this.id,
      names.map((name) => inputs[name]),
      names.map((name) => ({ name: `${name}:0` })),
      refs.map(withPort),
    )
  }

  /** Fetches nodes by their graph names, with no inputs: the values of variables. */
  fetch(refs: string[]): tf.Tensor[] {
    return this.node.runSavedModel(this.id, [], [], refs.map(withPort))
  }

  /** Gives variables their values. On a CPU the variable shares the tensor's memory, nothing is copied. */
  assign(values: Record<string, tf.Tensor>): void {
    const entries = Object.entries(values)
    if (entries.length === 0) return
    const done = this.node.runSavedModel(
      this.id,
      entries.map(([, tensor]) => tensor),
      entries.map(([name]) => ({ name: `${name}/value:0` })),
      entries.map(([name]) => `${name}/assigned:0`),
    )
    tf.dispose(done)
  }

  dispose(): void {
    this.node.deleteSavedModel(this.id)
  }

  private load({ nodes, oneThreadAnOp }: Recording, { inCallingThread }: Plan): number {
    const bytes = encodeSavedModel(nodes)
    const load = () => this.node.loadSavedModelMetaGraph(savedModelInMemory(bytes, this.node), 'serve')
    try {
      if (!oneThreadAnOp && !inCallingThread) return load()
      return withSessionConfig(encodeSessionConfig({ opThreads: 1, inCallingThread }), load)
    } catch (error) {
      throw new Error(`recording: TensorFlow does not take the graph: ${messageOf(error)}`, { cause: error })
    }
  }
}

function withPort(ref: string): string {
  return ref.includes(':') ? ref : `${ref}:0`
}
