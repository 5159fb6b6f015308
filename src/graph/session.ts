import * as tf from '@tensorflow/tfjs-core'
import { withSessionConfig } from '../backend/session-options.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { messageOf } from '../errors.ts'
import { withKernels, withOwnProducts } from './fuse.ts'
import { encodeSavedModel, encodeSessionConfig, type GraphNode } from './protobuf.ts'
import type { Recording } from './recorder.ts'
import { savedModelInMemory } from './saved-model-memory.ts'
import { readsWeightsMostly, type Sharing, shareOf, withOneDnn } from './sharing.ts'
import { sideBySide } from './side-by-side.ts'

/** In more parts experts' work is not cut: each sorts and copies all rows. Measured with two. */
const MOST_PARTS = 8

/** A recorded graph loaded into TensorFlow. Owns the session: `dispose()` when done. */
export class GraphSession {
  /** What the graph consists of, for whoever asks what a run does: the steps, also where one kernel does them. */
  readonly nodes: readonly GraphNode[]
  /** As in `Recording`. */
  readonly shapes: Readonly<Record<string, readonly number[]>>
  private readonly backend = activeTensorflow()
  private readonly id: number
  private readonly inputNames: string[]
  private readonly outputRefs: Record<string, string>

  /** `rows`: of the products in it; on a processor it decides how its threads share the work. */
  constructor(given: Recording, { rows = Number.POSITIVE_INFINITY }: { rows?: number } = {}) {
    const sharing = shareOf(given, rows)
    const recording = sharing?.shared === 'nodes' ? sideBySide(given, sharing.threads) : given
    this.nodes = recording.nodes
    this.shapes = recording.shapes ?? {}
    this.inputNames = Object.keys(recording.inputs)
    this.outputRefs = Object.fromEntries(
      Object.entries(recording.outputs).map(([name, { ref }]) => [name, ref]),
    )
    this.id = sharing ? this.loadShared(recording, sharing, rows) : this.load(recording.nodes)
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
      outputs.map((name) => this.outputRefs[name]),
    )
  }

  /** The same for any nodes of the graph, by their names there. Counting of FLOPs watches this method. */
  execute(inputs: Record<string, tf.Tensor>, refs: string[]): tf.Tensor[] {
    const names = this.inputNames
    return this.backend.runSavedModel(
      this.id,
      names.map((name) => inputs[name]),
      names.map((name) => ({ name: `${name}:0` })),
      refs.map(withPort),
    )
  }

  /** Fetches nodes by their graph names, with no inputs: the values of variables. */
  fetch(refs: string[]): tf.Tensor[] {
    return this.backend.runSavedModel(this.id, [], [], refs.map(withPort))
  }

  /** Gives variables their values. On a CPU the variable shares the tensor's memory, nothing is copied. */
  assign(values: Record<string, tf.Tensor>): void {
    const entries = Object.entries(values)
    if (entries.length === 0) return
    const done = this.backend.runSavedModel(
      this.id,
      entries.map(([, tensor]) => tensor),
      entries.map(([name]) => ({ name: `${name}/value:0` })),
      entries.map(([name]) => `${name}/assigned:0`),
    )
    tf.dispose(done)
  }

  dispose(): void {
    this.backend.deleteSavedModel(this.id)
  }

  private loadShared(recording: Recording, { shared, threads, onednn }: Sharing, rows: number): number {
    const multiplied = readsWeightsMostly(rows) ? withOwnProducts(recording) : withOneDnn(recording, onednn)
    const parts = shared === 'nothing' ? 1 : Math.min(threads, MOST_PARTS)
    const load = () => this.load(withKernels({ ...recording, nodes: multiplied }, parts))
    if (shared === 'ops') return load()
    return withSessionConfig(
      encodeSessionConfig({ opThreads: 1, inCallingThread: shared === 'nothing' }),
      load,
    )
  }

  private load(nodes: readonly GraphNode[]): number {
    const bytes = encodeSavedModel(nodes)
    try {
      return this.backend.loadSavedModelMetaGraph(savedModelInMemory(bytes, this.backend), 'serve')
    } catch (error) {
      throw new Error(`recording: TensorFlow does not take the graph: ${messageOf(error)}`, { cause: error })
    }
  }
}

function withPort(ref: string): string {
  return ref.includes(':') ? ref : `${ref}:0`
}
