import * as tf from '@tensorflow/tfjs-core'
import type { HostNumbers, NativeRun, Numbers } from '../backend/tensorflow.ts'
import { messageOf } from '../errors.ts'
import { onCard } from './card.ts'
import { joinNeighbours } from './joins.ts'
import { chooseProducts, fuse } from './kernels.ts'
import { type Plan, planFor } from './plan.ts'
import type { GraphNode } from './protobuf.ts'
import { DEMAND, type GraphVariable, type Recording } from './recorder.ts'
import { type Session, Sessions, type VariableExchange } from './sessions.ts'
import { sideBySide } from './side-by-side.ts'

/** A graph made of another that computes the same, as the plan wants it run. */
type Pass = (graph: Recording, plan: Plan) => Recording

/** What a recording goes through before TensorFlow gets it. */
const PASSES: readonly Pass[] = [onCard, sideBySide, fuse, chooseProducts, joinNeighbours]

/** A recording as TensorFlow gets it, but for the names of its variables in a session. */
export function planned(recording: Recording, plan: Plan): Recording {
  return PASSES.reduce((graph, pass) => pass(graph, plan), recording)
}

/** A recorded graph in a session of TensorFlow's: of a model's, which its other graphs are in too, or in one of its own. */
export class GraphSession {
  readonly session: Session
  private readonly prefix: string
  private readonly runs = new Map<string, NativeRun>()
  private readonly own: Sessions | null
  private readonly demands: boolean
  private readonly names: ReadonlyMap<string, string>

  /**
   * `recording`: the steps, for whoever asks what a run does, also where others stand in their place.
   * @param of the model's sessions, which close this one too; without, `dispose()` when done
   */
  constructor(
    readonly recording: Recording,
    plan = planFor(),
    of?: Sessions,
  ) {
    const sessions = of ?? new Sessions()
    this.own = of ? null : sessions
    const { nodes, variables, oneThreadAnOp } = planned(recording, plan)
    this.demands = nodes.some(({ op }) => op === DEMAND)
    const { inCallingThread } = plan
    try {
      this.session = sessions.at({ opThreads: oneThreadAnOp || inCallingThread ? 1 : 0, inCallingThread })
      this.names = sessions.provide(this.session, variables)
      this.prefix = this.session.add(withNames(nodes, this.names))
    } catch (error) {
      this.own?.dispose()
      throw new Error(`recording: TensorFlow does not take the graph: ${refusal(error, nodes)}`, {
        cause: error,
      })
    }
  }

  /** Runs the graph: inputs by name, the named outputs as tensors of the host. The caller disposes them. */
  run(inputs: Record<string, tf.Tensor>, outputs: string[]): tf.Tensor[] {
    const results = this.fetch(inputs, outputs)
    return results.map(({ data, shape }, i) =>
      tf.tensor(data, shape, this.recording.outputs[outputs[i]].dtype as tf.DataType),
    )
  }

  /** The same with the outputs as plain numbers. */
  fetch(inputs: Record<string, tf.Tensor | Numbers>, outputs: string[]): HostNumbers[] {
    return this.execute(
      inputs,
      outputs.map((name) => this.recording.outputs[name].ref),
    )
  }

  /** The same for any nodes of the graph, by their names there. Counting of FLOPs watches this method. */
  execute(inputs: Record<string, tf.Tensor | Numbers>, refs: string[]): HostNumbers[] {
    const key = refs.join()
    const names = Object.keys(this.recording.inputs)
    const inSession = (refs: string[]) => refs.map((ref) => this.prefix + ref)
    const run = this.runs.get(key) ?? this.session.prepare(inSession(names), inSession(refs))
    this.runs.set(key, run)
    return this.session.run(
      run,
      names.map((name) => inputs[name]),
      this.demands,
    )
  }

  /** Gives variables of the recording other values, on a processor without a copy, and takes those that they have. */
  exchange(variables: readonly GraphVariable[]): VariableExchange {
    return this.session.exchange(variables.map((one) => ({ ...one, name: this.names.get(one.name)! })))
  }

  dispose(): void {
    this.own?.dispose()
  }
}

/** Variables called what the session calls them; all nodes of it that say so are the same one. */
function withNames(nodes: readonly GraphNode[], names: ReadonlyMap<string, string>): GraphNode[] {
  return nodes.map((node) => {
    const name = node.op === 'VarHandleOp' ? names.get(node.name) : undefined
    return name ? { ...node, attr: { ...node.attr, shared_name: { s: Buffer.from(name) } } } : node
  })
}

/** TensorFlow's first sentence, and which node it is about, where it names that or an op. */
function refusal(error: unknown, nodes: readonly GraphNode[]): string {
  const words = messageOf(error)
  const [, named] = /\{\{node (?:part\d+\/)?(.+?)\}\}/.exec(words) ?? []
  const name = named ?? nodes.find(({ op }) => words.startsWith(`Op type not registered '${op}'`))?.name
  const [sentence] = words.split(/\. |; |\n/)
  return name ? `node ${name}: ${sentence}` : sentence
}
