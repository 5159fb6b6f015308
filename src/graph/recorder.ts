import { isDeepStrictEqual } from 'node:util'
import type * as tf from '@tensorflow/tfjs-core'
import { FUSED, type FusedCall, type FusedName, type Kernel } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import { activeTensorflow, type OpAttribute, type TfjsNode } from '../backend/tensorflow.ts'
import { missingAttributes } from './op-attributes.ts'
import {
  type AttributeValue,
  DATA_TYPES,
  type GraphDtype,
  type GraphNode,
  nodeOf,
  shapeProto,
} from './protobuf.ts'

/** A tensor that existed before the recording and becomes a variable of the graph. */
export interface GraphVariable {
  name: string
  tensor: tf.Tensor
}

/** A product of matrices, with what its node alone does not say. */
export interface Product {
  node: GraphNode
  left: { ref: string; shape: readonly number[]; transposed: boolean }
  right: { ref: string; shape: readonly number[]; transposed: boolean }
  /** Of the result. */
  shape: readonly number[]
}

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
  /** Nodes that end steps for which there is a fused kernel, by their names, and the kernel's node that may stand in their place. */
  fused?: ReadonlyMap<string, FusedNode>
  /** Of operands of products whose type tfjs has not, so that they cannot be fetched; by their refs. */
  shapes?: Record<string, readonly number[]>
  /** Whether TensorFlow shares nodes among its threads, not each op. */
  oneThreadAnOp?: boolean
}

interface Known {
  ref: string
  shape: readonly number[]
}

/** The ops that multiply matrices, and the attributes by which each operand is transposed. */
const PRODUCTS: Record<string, [left: string, right: string]> = {
  MatMul: ['transpose_a', 'transpose_b'],
  BatchMatMulV2: ['adj_x', 'adj_y'],
}

export interface RecordOptions {
  isVariable?: (tensor: tf.Tensor) => boolean
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
  private readonly fused = new Map<string, FusedNode>()
  private count = 0
  /** What each `Reshape` gives another shape: of several in a row only the last is needed. */
  private readonly reshaped = new Map<string, string>()

  constructor(
    private readonly inputs: Record<string, tf.Tensor>,
    private readonly options: RecordOptions,
  ) {
    for (const [name, tensor] of Object.entries(inputs)) {
      const type = DATA_TYPES[tensor.dtype as GraphDtype]
      this.nodes.push({
        name,
        op: 'Placeholder',
        input: [],
        attr: { dtype: { type }, shape: { shape: shapeProto(tensor.shape) } },
      })
      this.known.set(tensor.dataId, { ref: name, shape: tensor.shape })
    }
  }

  /** Runs `f` with the backend watched; puts everything back whatever happens. */
  watch<T>(f: () => T): T {
    const { backend } = this
    const { executeSingleOutput, executeMultipleOutputs, readSync, write } = backend
    backend.executeSingleOutput = (op, attributes, inputs) => {
      const refs = inputs.map((tensor) => this.refOf(tensor, readSync))
      const output = executeSingleOutput.call(backend, op, attributes, inputs)
      this.node(op, attributes, inputs, refs, [output])
      return output
    }
    backend.executeMultipleOutputs = (op, attributes, inputs, count) => {
      const refs = inputs.map((tensor) => this.refOf(tensor, readSync))
      const outputs = executeMultipleOutputs.call(backend, op, attributes, inputs, count)
      this.node(op, attributes, inputs, refs, outputs)
      return outputs
    }
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
    try {
      return f()
    } finally {
      Object.assign(backend, { executeSingleOutput, executeMultipleOutputs, readSync, write })
      delete backend.onFused
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

  /** Makes `tensor`, whatever it holds now, stand for the output of a node added by `emit`. */
  bind<T extends tf.Tensor>(tensor: T, ref: string): T {
    this.known.set(tensor.dataId, { ref, shape: tensor.shape })
    return tensor
  }

  /** A variable and the nodes that assign it: feed `NAME/value`, fetch `NAME/assigned`. Returns the handle's name. */
  declare(name: string, dtype: GraphDtype, shape: readonly number[]): string {
    const type = { dtype: { type: DATA_TYPES[dtype] } }
    const placed = { ...type, shape: { shape: shapeProto(shape) } }
    const text = (s: string) => ({ s: Buffer.from(s) })
    this.nodes.push(
      {
        name,
        op: 'VarHandleOp',
        input: [],
        attr: { ...placed, shared_name: text(name), container: text('') },
      },
      { name: `${name}/value`, op: 'Placeholder', input: [], attr: placed },
      { name: `${name}/assign`, op: 'AssignVariableOp', input: [name, `${name}/value`], attr: type },
      constant(`${name}/assigned`, 'int32', [], new Int32Array(1), [`^${name}/assign`]),
    )
    return name
  }

  /** The value of a variable, in the variable's own memory. */
  read(name: string, dtype: GraphDtype): string {
    return this.emit('ReadVariableOp', [name], { dtype: { type: DATA_TYPES[dtype] } })
  }

  finish(outputs: Record<string, tf.Tensor>): Recording {
    return {
      nodes: this.nodes,
      products: this.products,
      inputs: this.inputs,
      outputs: Object.fromEntries(
        Object.entries(outputs).map(([name, tensor]) => [
          name,
          { ref: this.ref(tensor), shape: tensor.shape, dtype: tensor.dtype as GraphDtype },
        ]),
      ),
      variables: this.variables,
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
    const node = this.add(op, refs, attr)
    const transposed = PRODUCTS[op]
    if (transposed) {
      const [left, right] = inputs.map(({ shape }, i) => ({
        ref: refs[i],
        shape,
        transposed: given.some((a) => a.name === transposed[i] && Boolean(a.value)),
      }))
      this.products.push({ node, left, right, shape: outputs[0].shape })
    }
    outputs.forEach((output, i) => {
      this.known.set(output.dataId, { ref: i === 0 ? node.name : `${node.name}:${i}`, shape: output.shape })
    })
  }

  /** Ends the steps that made `output` with a node of their own, whose place the kernel can take. */
  private noteFused({ name, inputs, attributes }: FusedCall, output: tf.Tensor): void {
    if (!this.options.fused?.has(name)) return
    const kernel: Kernel = FUSED[name]
    const input = inputs.map((tensor) => this.ref(tensor))
    const end = this.add('Identity', [this.ref(output)], { T: { type: DATA_TYPES.float32 } })
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
      Tshape: { type: DATA_TYPES.int32 },
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
    const { isVariable = ({ size }) => size > LIMITS.constantValues } = this.options
    if (!this.madeHere.has(tensor.dataId) && isVariable(tensor)) {
      const name = `variable_${this.count++}`
      const dtype = tensor.dtype as GraphDtype
      const handle = this.declare(name, dtype, tensor.shape)
      this.variables.push({ name, tensor })
      const known = { ref: this.read(handle, dtype), shape: tensor.shape }
      this.known.set(tensor.dataId, known)
      return known
    }
    const values = readSync.call(this.backend, tensor.dataId) as Float32Array | Int32Array | Uint8Array
    const node = constant(`constant_${this.count++}`, tensor.dtype as GraphDtype, tensor.shape, values)
    this.nodes.push(node)
    const known = { ref: node.name, shape: tensor.shape }
    this.known.set(tensor.dataId, known)
    return known
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

/** A node that is its values. */
export function constant(
  name: string,
  dtype: GraphDtype,
  shape: readonly number[],
  values: ArrayBufferView,
  input: string[] = [],
): GraphNode {
  const content = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const type = DATA_TYPES[dtype]
  return {
    name,
    op: 'Const',
    input,
    attr: {
      dtype: { type },
      value: { tensor: { dtype: type, tensor_shape: shapeProto(shape), tensor_content: content } },
    },
  }
}
