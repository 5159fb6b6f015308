import { isDeepStrictEqual } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { PRODUCTS } from '../backend/held.ts'
import { zerosOn } from '../backend/host-weights.ts'
import { FUSED, type FusedCall, type FusedName, type Kernel } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import { activeTensorflow, type OpAttribute, type TfjsNode } from '../backend/tensorflow.ts'
import { mapValues } from '../model/tree.ts'
import { type HeldWeight, HeldWeights, type Side } from './held-weights.ts'
import { constant, placeholder, variable } from './nodes.ts'
import { missingAttributes } from './op-attributes.ts'
import {
  type AttributeValue,
  DATA_TYPES,
  FLOAT,
  type GraphDtype,
  type GraphNode,
  INT,
  nodeOf,
  shapeProto,
} from './protobuf.ts'

/** A tensor that existed before the recording and becomes a variable of the graph. */
export interface GraphVariable {
  name: string
  tensor: tf.Tensor
  /** As it is held. */
  dtype: GraphDtype
  shape: readonly number[]
}

/** One entry along a tensor's first axis. */
export interface Entry {
  of: tf.Tensor
  index: number
}

/** A product of matrices, with what its node alone does not say. */
export interface Product {
  node: GraphNode
  left: Side
  right: Side
  /** Of the result. */
  shape: readonly number[]
}

/** The node that has a supplier of the host called (src/native/demand.cc). */
export const DEMAND = 'TinymoeDemand'

export const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** In a product of two matrices; of stacks, in one of them. */
export function multiplications({ left, shape }: Product): number {
  const [rows, inner] = left.shape.slice(-2)
  return (left.transposed ? rows : inner) * sizeOf(shape.slice(-2))
}

/** A fused kernel's node that may stand in the place of steps, with the shapes of its inputs. */
export interface FusedNode extends GraphNode {
  fused: FusedName
  shapes: readonly (readonly number[])[]
}

/** What was recorded, and what passes make of it. Names are those of the graph's nodes. */
export interface Recording {
  nodes: GraphNode[]
  products: Product[]
  inputs: Record<string, Pick<tf.Tensor, 'shape' | 'dtype'>>
  outputs: Record<string, { ref: string; shape: readonly number[]; dtype: GraphDtype }>
  variables: GraphVariable[]
  /** Weights by the names of what widens them to float32, which products and kernels read. */
  weights?: ReadonlyMap<string, HeldWeight>
  /** The tensors, by their `dataId`, that are multiplied without any rounding, whatever they are held as. */
  exact?: ReadonlySet<object>
  /** Nodes that end steps for which there is a fused kernel, by their names, and the kernel's node that may stand in their place. */
  fused?: ReadonlyMap<string, FusedNode>
  /** Whether TensorFlow shares nodes among its threads, not each op. */
  oneThreadAnOp?: boolean
}

interface Known {
  ref: string
  shape: readonly number[]
}

export interface RecordOptions {
  isVariable?: (tensor: tf.Tensor) => boolean
  /** Tensors that are entries of others, by their `dataId`: the graph cuts them out, so that the others alone become variables. */
  entries?: Pick<ReadonlyMap<object, Entry>, 'get'>
  /** The fused kernels that are noted; default: none. */
  fused?: ReadonlySet<FusedName>
}

/**
 * Runs `build` once and records every TensorFlow op that it runs, whatever tfjs function it came through, as a graph.
 * Inputs become placeholders; tensors from before that `isVariable` (default: the large ones) become variables, which share
 * their memory, the others constants. So do tensors that the host makes on the way: they may be gone when the run is over.
 * @throws Error naming the op when something cannot be recorded: a read-back above all, because its value would freeze
 */
export function record(
  inputs: Record<string, tf.Tensor>,
  build: (recorder: Recorder) => Record<string, tf.Tensor>,
  options: RecordOptions = {},
): Recording {
  const recorder = new Recorder(inputs, options)
  const outputs = recorder.watch(() => build(recorder))
  return recorder.finish(outputs)
}

/** Turns the ops of one run into graph nodes. Made by `record`, which also hands it to the code being recorded. */
export class Recorder {
  private readonly backend = activeTensorflow()
  private readonly nodes: GraphNode[] = []
  private readonly known = new WeakMap<object, Known>()
  private readonly products: Product[] = []
  private readonly variables: GraphVariable[] = []
  /** Data that the host made during the recording. */
  private readonly madeHere = new WeakSet<object>()
  /** Data of tensors that became variables, or entries of some. */
  private readonly weights = new WeakSet<object>()
  private readonly held = new HeldWeights(this.backend, this)
  private readonly fused = new Map<string, FusedNode>()
  /** Nodes that see to the numbers of tensors, by their `dataId`. */
  private readonly demands = new Map<object, string>()
  private count = 0
  /** What each `Reshape` gives another shape: of several in a row only the last is needed. */
  private readonly reshaped = new Map<string, string>()

  constructor(
    private readonly inputs: Record<string, tf.Tensor>,
    private readonly options: RecordOptions,
  ) {
    for (const [name, tensor] of Object.entries(inputs)) {
      this.nodes.push(placeholder(name, tensor.dtype as GraphDtype, tensor.shape))
      this.known.set(tensor.dataId, { ref: name, shape: tensor.shape })
    }
  }

  /** Runs `f` with the backend watched; puts everything back whatever happens. */
  watch<T>(f: () => T): T {
    const { backend } = this
    const { executeSingleOutput, executeMultipleOutputs, readSync, write } = backend
    const watched = (
      op: string,
      attributes: OpAttribute[],
      inputs: tf.Tensor[],
      execute: (given: tf.Tensor[]) => tf.Tensor[],
    ) => {
      const refs = inputs.map((tensor) => this.refOf(tensor, readSync))
      const outputs = this.withoutWeights(inputs, executeSingleOutput, execute)
      this.node(op, attributes, inputs, refs, outputs)
      return outputs
    }
    backend.executeSingleOutput = (op, attributes, inputs) =>
      watched(op, attributes, inputs, (given) => [
        executeSingleOutput.call(backend, op, attributes, given),
      ])[0]
    backend.executeMultipleOutputs = (op, attributes, inputs, count) =>
      watched(op, attributes, inputs, (given) =>
        executeMultipleOutputs.call(backend, op, attributes, given, count),
      )
    backend.readSync = (dataId) => {
      const known = this.known.get(dataId)
      if (!known) return readSync.call(backend, dataId) // made on the host: a constant
      throw new Error(
        `recording: the value of ${this.opOf(known.ref)} was read back, so it would freeze in the graph`,
      )
    }
    backend.write = (values, shape, dtype) => {
      const dataId = write.call(backend, values, shape, dtype)
      this.madeHere.add(dataId)
      return dataId
    }
    backend.onFused = (kernel, output) => this.noteFused(kernel, output)
    backend.onDemand = (tensors, indices, supplier) => {
      const demand = this.emit(DEMAND, [this.ref(indices)], { of: { i: supplier } })
      for (const { dataId } of tensors) this.demands.set(dataId, demand)
    }
    try {
      return f()
    } finally {
      Object.assign(backend, { executeSingleOutput, executeMultipleOutputs, readSync, write })
      delete backend.onFused
      delete backend.onDemand
    }
  }

  /** Adds a node that has no tfjs counterpart (variables updated in place). Nothing runs. Returns the node's name. */
  emit(op: string, input: string[], attr: Record<string, AttributeValue>): string {
    return this.add(op, input, attr).name
  }

  /** The graph's name for a tensor of the run. */
  ref(tensor: tf.Tensor): string {
    return this.refOf(tensor, this.backend.readSync)
  }

  /** The handle of the variable that a tensor is in the graph. */
  handle({ dataId }: tf.Tensor): string {
    return this.variables.find(({ tensor }) => tensor.dataId === dataId)!.name
  }

  /** Makes `tensor`, whatever it holds now, stand for the output of a node added by `emit`. */
  bind<T extends tf.Tensor>(tensor: T, ref: string): T {
    this.known.set(tensor.dataId, { ref, shape: tensor.shape })
    return tensor
  }

  /** A variable of the session, by its name there. Returns the handle's name. */
  declare(name: string, dtype: GraphDtype, shape: readonly number[]): string {
    this.nodes.push(variable(name, dtype, shape))
    return name
  }

  /** The value of a variable, in the variable's own memory; `after` a node has run. */
  read(name: string, dtype: GraphDtype, after?: string): string {
    const input = after === undefined ? [name] : [name, `^${after}`]
    return this.emit('ReadVariableOp', input, { dtype: { type: DATA_TYPES[dtype] } })
  }

  finish(outputs: Record<string, tf.Tensor>): Recording {
    return {
      nodes: this.nodes,
      products: this.products,
      inputs: this.inputs,
      outputs: mapValues(outputs, (tensor) => {
        return { ref: this.ref(tensor), shape: tensor.shape, dtype: tensor.dtype as GraphDtype }
      }),
      variables: this.variables,
      weights: this.held.widened,
      fused: this.fused,
    }
  }

  private node(
    op: string,
    given: OpAttribute[],
    inputs: tf.Tensor[],
    refs: string[],
    outputs: tf.Tensor[],
  ): void {
    const attributes = [...given, ...missingAttributes(op, given, inputs, this.backend.binding)]
    const attr = Object.fromEntries(attributes.map((a) => [a.name, this.attribute(op, a)]))
    if (op === 'Cast' && isDeepStrictEqual(attr.SrcT, attr.DstT)) {
      this.known.set(outputs[0].dataId, { ref: refs[0], shape: outputs[0].shape }) // tfjs's mean and sum cast floats to floats
      return
    }
    const picked = this.held.pick(op, inputs, refs, attr)
    if (picked) {
      this.bind(outputs[0], picked)
      return
    }
    const transposed = PRODUCTS[op]
    if (!transposed) {
      this.name(this.add(op, refs, attr), outputs)
      return
    }
    const sides = inputs.map(({ shape }, i) => {
      const flag = given.some((a) => a.name === transposed[i] && Boolean(a.value))
      return this.held.side({ ref: refs[i], shape, transposed: flag })
    })
    for (const [i, side] of sides.entries()) attr[transposed[i]] = { b: side.transposed }
    const node = this.add(
      op,
      sides.map(({ ref }) => ref),
      attr,
    )
    const [left, right] = sides
    this.products.push({ node, left, right, shape: outputs[0].shape })
    this.name(node, outputs)
  }

  /** Tells what tensors of the run a node's outputs are. */
  private name(node: GraphNode, outputs: tf.Tensor[]): void {
    outputs.forEach((output, i) => {
      this.known.set(output.dataId, { ref: i === 0 ? node.name : `${node.name}:${i}`, shape: output.shape })
    })
  }

  /** On a card large weights stay where they are: zeros of their shapes are there while the op runs. */
  private withoutWeights(
    inputs: tf.Tensor[],
    executeSingleOutput: TfjsNode['executeSingleOutput'],
    execute: (given: tf.Tensor[]) => tf.Tensor[],
  ): tf.Tensor[] {
    if (!this.backend.isUsingGpuDevice) return execute(inputs)
    const isWeight = inputs.map(({ dataId }) => this.weights.has(dataId))
    const given = inputs.map((tensor, i) =>
      isWeight[i] ? zerosOn(this.backend, executeSingleOutput, tensor) : tensor,
    )
    try {
      return execute(given)
    } finally {
      tf.dispose(given.filter((_, i) => isWeight[i]))
    }
  }

  /** Ends the steps that made `output` with a node of their own, whose place the kernel can take. */
  private noteFused({ name, inputs, attributes }: FusedCall, output: tf.Tensor): void {
    if (!this.options.fused?.has(name)) return
    const kernel: Kernel = FUSED[name]
    const input = inputs.map((tensor) => this.ref(tensor))
    const end = this.add('Identity', [this.ref(output)], { T: FLOAT })
    this.bind(output, end.name)
    const attr: GraphNode['attr'] = {}
    for (const [attribute, type] of Object.entries(kernel.attributes ?? {})) {
      attr[attribute] = type === 'int' ? { i: attributes[attribute] } : { f: attributes[attribute] }
    }
    for (const [limit, i] of Object.entries(kernel.limits ?? {})) attr[limit] = { i }
    const shapes = inputs.map(({ shape }) => shape)
    this.fused.set(end.name, { name: end.name, op: kernel.op, input, attr, fused: name, shapes })
  }

  private refOf(tensor: tf.Tensor, readSync: TfjsNode['readSync']): string {
    const known = this.known.get(tensor.dataId) ?? this.capture(tensor, readSync)
    if (known.shape.join() === tensor.shape.join()) return known.ref
    // tfjs gives a tensor another shape without running an op; a graph needs one.
    const shape = constant(`shape_${this.count++}`, 'int32', [tensor.rank], Int32Array.from(tensor.shape))
    this.nodes.push(shape)
    return this.emit('Reshape', [known.ref, shape.name], {
      T: { type: DATA_TYPES[tensor.dtype as GraphDtype] },
      Tshape: INT,
    })
  }

  /** A new node at the end. A `Reshape` of a `Reshape` reads what that one reads. */
  private add(op: string, input: string[], attr: Record<string, AttributeValue>): GraphNode {
    const node = { name: `${op}_${this.count++}`, op, input, attr }
    if (op === 'Reshape') {
      const [ref, shape] = input
      const source = this.reshaped.get(ref) ?? ref
      this.reshaped.set(node.name, source)
      node.input = [source, shape]
    }
    this.nodes.push(node)
    return node
  }

  /** A tensor that no recorded op made: a variable that shares its memory if it was there before and is large, else a constant. */
  private capture(tensor: tf.Tensor, readSync: TfjsNode['readSync']): Known {
    const ref = this.captured(tensor, readSync)
    const known = { ref, shape: tensor.shape }
    this.known.set(tensor.dataId, known)
    return known
  }

  private captured(tensor: tf.Tensor, readSync: TfjsNode['readSync']): string {
    const held = this.held.capture(tensor)
    if (held) {
      this.weights.add(tensor.dataId)
      return held
    }
    const { isVariable = ({ size }) => size > LIMITS.constantValues, entries } = this.options
    const dtype = tensor.dtype as GraphDtype
    const entry = entries?.get(tensor.dataId)
    const isDemanded = this.demands.has((entry?.of ?? tensor).dataId) // its numbers are not there yet
    if (isDemanded || (!this.madeHere.has(tensor.dataId) && isVariable(tensor))) {
      this.weights.add(tensor.dataId)
      if (entry) return this.cut(this.refOf(entry.of, readSync), entry.index, dtype)
      return this.weight(tensor, dtype, tensor.shape)
    }
    const values = readSync.call(this.backend, tensor.dataId) as Float32Array | Int32Array | Uint8Array
    return this.constant(dtype, tensor.shape, values)
  }

  /** The value of a new variable that has a tensor's numbers. */
  weight(tensor: tf.Tensor, dtype: GraphDtype, shape: readonly number[]): string {
    const name = `variable_${this.count++}`
    this.weights.add(tensor.dataId)
    this.variables.push({ name, tensor, dtype, shape })
    return this.read(this.declare(name, dtype, shape), dtype, this.demands.get(tensor.dataId))
  }

  /** The entry of a stack at an index, in the stack's memory. */
  cut(stack: string, index: number, dtype: GraphDtype): string {
    const bounds = [index, index + 1, 1].map((at) => this.constant('int32', [1], Int32Array.of(at)))
    return this.emit('StridedSlice', [stack, ...bounds], {
      T: { type: DATA_TYPES[dtype] },
      Index: INT,
      shrink_axis_mask: { i: 1 },
    })
  }

  constant(dtype: GraphDtype, shape: readonly number[], values: ArrayBufferView): string {
    const node = constant(`constant_${this.count++}`, dtype, shape, values)
    this.nodes.push(node)
    return node.name
  }

  private attribute(op: string, { name, type, value }: OpAttribute): AttributeValue {
    const { binding } = this.backend
    switch (type) {
      case binding.TF_ATTR_TYPE:
        return { type: value as number }
      case binding.TF_ATTR_BOOL:
        return { b: Boolean(value) }
      case binding.TF_ATTR_INT:
        return Array.isArray(value) ? { list: { i: value } } : { i: value as number }
      case binding.TF_ATTR_FLOAT:
        return { f: value as number }
      case binding.TF_ATTR_STRING:
        return { s: Buffer.from(value as string) }
      case binding.TF_ATTR_SHAPE:
        return { shape: shapeProto(value as number[]) }
    }
    throw new Error(`recording: attribute ${name} of ${op} has a type that cannot be recorded`)
  }

  private opOf(ref: string): string {
    const name = nodeOf(ref)
    return this.nodes.find((node) => node.name === name)?.op ?? ref
  }
}
