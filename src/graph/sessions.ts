import type * as tf from '@tensorflow/tfjs-core'
import { heldAs } from '../backend/held.ts'
import {
  activeTensorflow,
  type HostNumbers,
  type NativeRun,
  type NativeSession,
  type Numbers,
} from '../backend/tensorflow.ts'
import { placeholder, variable } from './nodes.ts'
import {
  DATA_TYPES,
  encodeGraph,
  encodeSessionConfig,
  type GraphNode,
  type SessionOptions,
} from './protobuf.ts'
import type { GraphVariable } from './recorder.ts'

/**
 * The TensorFlow sessions of a model: one for each way of sharing work among threads, so on a card a single one, and on a
 * processor up to three, whose variables are the same memory. `dispose()` when done.
 */
export class Sessions {
  private readonly opened = new Map<string, Session>()
  /** What variables are called, by the tensor's `dataId` and what is made of it. */
  private readonly names = new WeakMap<object, Map<string, string>>()
  private named = 0

  /** The session with these options, opened when first asked for. */
  at(options: SessionOptions): Session {
    const key = JSON.stringify(options)
    const session = this.opened.get(key) ?? new Session(options)
    this.opened.set(key, session)
    return session
  }

  /** Sees to it that a session has these variables. Returns their names there, by their names in the recording. */
  provide(session: Session, variables: readonly GraphVariable[]): Map<string, string> {
    const named = variables.map((variable) => ({ ...variable, name: this.nameOf(variable) }))
    let missing = named.filter(({ name }) => !session.has(name))
    for (const other of this.opened.values()) {
      session.share(
        missing.filter(({ name }) => other.has(name)),
        other,
      )
      missing = missing.filter(({ name }) => !other.has(name))
    }
    session.assign(missing)
    return new Map(variables.map(({ name }, i) => [name, named[i].name]))
  }

  dispose(): void {
    for (const session of this.opened.values()) session.dispose()
    this.opened.clear()
  }

  private nameOf({ tensor, shape }: GraphVariable): string {
    const ofData = this.names.get(tensor.dataId) ?? new Map<string, string>()
    this.names.set(tensor.dataId, ofData)
    const made = shape.join()
    const name = ofData.get(made) ?? `weight${this.named++}`
    ofData.set(made, name)
    return name
  }
}

export interface VariableExchange {
  give(tensors: readonly tf.Tensor[]): void
  take(): HostNumbers[]
}

/** A variable of a session. */
type Described = Omit<GraphVariable, 'tensor'>

/** One session, whose graph grows. */
export class Session {
  private readonly node = activeTensorflow()
  private readonly native: NativeSession
  private readonly variables = new Set<string>()
  private parts = 0

  constructor(private readonly options: SessionOptions) {
    this.native = this.node.binding.openSession(encodeSessionConfig(options))
  }

  has(variable: string): boolean {
    return this.variables.has(variable)
  }

  /** Adds nodes to the graph. Returns what stands before their names there. */
  add(nodes: readonly GraphNode[]): string {
    const prefix = `part${this.parts++}`
    this.node.binding.extendSession(this.native, encodeGraph(nodes), prefix)
    return `${prefix}/`
  }

  /** A run that feeds and fetches places of the graph, and runs nodes for their effect. */
  prepare(feeds: string[], fetches: string[], targets: string[] = []): NativeRun {
    return this.node.binding.prepareRun(this.native, feeds, fetches, targets)
  }

  /** Tensors on a processor are fed without a copy. `demands`: nodes of it have suppliers called. */
  run(run: NativeRun, inputs: readonly (tf.Tensor | Numbers)[], demands = false): HostNumbers[] {
    return this.node.binding.run(
      run,
      inputs.map((input) => ('dataId' in input ? this.valueOf(input) : input)),
      demands && !this.options.inCallingThread,
    )
  }

  /** The runs that write these variables, and that read them. */
  access(variables: readonly Described[]): { write: NativeRun; read: NativeRun } {
    const prefix = this.add(variables.flatMap(accessNodes))
    const all = (suffix: string) => variables.map(({ name }) => `${prefix}${name}/${suffix}`)
    return {
      write: this.prepare(all('value'), [], all('assign')),
      read: this.prepare([], all('read')),
    }
  }

  /** Makes variables of tensors. On a processor they share the tensors' memory; a card gets them one at a time. */
  assign(variables: readonly GraphVariable[]): void {
    const pieces = this.node.isUsingGpuDevice ? variables.map((variable) => [variable]) : [variables]
    for (const piece of pieces) {
      if (piece.length === 0) continue
      this.run(
        this.access(piece).write,
        piece.map(({ tensor }) => tensor),
      )
      for (const { name } of piece) this.variables.add(name)
    }
  }

  /** Gives variables values again and again, as `assign` does once; and tells what they hold. */
  exchange(variables: readonly Described[]): VariableExchange {
    const { write, read } = this.access(variables)
    return { give: (tensors) => void this.run(write, tensors), take: () => this.run(read, []) }
  }

  /** Makes variables that share the memory of another session's. */
  share(variables: readonly GraphVariable[], other: Session): void {
    if (variables.length === 0) return
    this.take(other.access(variables).read, this.access(variables).write)
    for (const { name } of variables) this.variables.add(name)
  }

  /** Feeds what another session's run reads to a run of this one that writes it; on a processor both then have the same memory. */
  take(read: NativeRun, write: NativeRun): void {
    this.node.binding.pipe(read, write)
  }

  dispose(): void {
    this.node.binding.closeSession(this.native)
  }

  /** On a card from where the host has it, so that tfjs brings no second copy there. */
  private valueOf(tensor: tf.Tensor): Numbers | number {
    const values = heldAs(this.node, tensor)?.bytes ?? this.node.tensorMap.get(tensor.dataId).values
    if (values && this.node.isUsingGpuDevice) return values
    return this.node.getInputTensorIds([tensor])[0]
  }
}

function accessNodes({ name, dtype, shape }: Described): GraphNode[] {
  const type = { dtype: { type: DATA_TYPES[dtype] } }
  const value = `${name}/value`
  return [
    variable(name, dtype, shape),
    placeholder(value, dtype, shape),
    { name: `${name}/assign`, op: 'AssignVariableOp', input: [name, value], attr: type },
    { name: `${name}/read`, op: 'ReadVariableOp', input: [name], attr: type },
  ]
}
