import * as tf from '@tensorflow/tfjs-core'
import { DATA_TYPES, type HalfDtype } from './dtypes.ts'
import { type Held, type Holding, rowBytes } from './holding.ts'
import type { OpAttribute, TensorMetadata, TfjsNode } from './tensorflow.ts'

/**
 * Weights held as they are stored. To tfjs and the model such a tensor is one of float32; TensorFlow has it in fewer bits. An op
 * that is run eagerly sees it widened, for as long as it runs; a recorded graph has it as a variable of the type that it is held in.
 */

/** How a tensor is held, if not as tfjs has it. */
export function heldAs(node: TfjsNode, tensor: tf.Tensor): Held | undefined {
  return node.held?.get(tensor.dataId)
}

/** The weight [..., out, in] whose bytes these are; `transposed`: [in, out] of a matrix. The caller disposes of it. */
export function holdTensor(
  node: TfjsNode,
  bytes: Uint8Array,
  shape: readonly number[],
  holding: Holding,
  transposed = false,
): tf.Tensor {
  const numbers = shape[shape.length - 1]
  const last = holding.groups ? (rowBytes(holding, numbers) as number) : numbers
  const held = { shape: [...shape.slice(0, -1), last], in: numbers, transposed, bytes, entry: null }
  return standIn(node, transposed ? [...shape].reverse() : [...shape], { ...holding, ...held })
}

/** A weight of float32 [..., out, in] rounded to a half type and held so. The caller disposes of both. */
export function holdRounded<X extends tf.Tensor>(node: TfjsNode, x: X, dtype: HalfDtype): X {
  const type = (name: string, value: number) => ({ name, type: node.binding.TF_ATTR_TYPE, value })
  const types = [type('SrcT', DATA_TYPES.float32), type('DstT', DATA_TYPES[dtype])]
  const [{ id }] = node.binding.executeOp('Cast', types, node.getInputTensorIds([x]), 1)
  const { shape } = x
  const last = shape[shape.length - 1]
  const held = standIn(node, shape, { dtype, shape, in: last, transposed: false, bytes: null, entry: null })
  node.tensorMap.get(held.dataId).id = id
  return held as X
}

/** One entry along the first axis of a held stack, in its memory. */
export function heldEntry(node: TfjsNode, of: tf.Tensor, index: number): tf.Tensor {
  const stack = heldAs(node, of) as Held
  const held = { ...stack, shape: stack.shape.slice(1), bytes: null, entry: { of, index } }
  return standIn(node, of.shape.slice(1), held)
}

function standIn(node: TfjsNode, shape: number[], held: Held): tf.Tensor {
  const dataId = {}
  node.tensorMap.set(dataId, { shape, dtype: DATA_TYPES.float32, id: -1, values: null, refCount: 1 })
  node.held?.set(dataId, held)
  return tf.engine().makeTensorFromDataId(dataId, shape, 'float32', node)
}

/** Ops that give some of a tensor's numbers, as they are; by each the attribute that says the numbers' type. */
export const PICKING: Readonly<Record<string, string>> = { GatherV2: 'Tparams', StridedSlice: 'T' }

/** The ops that multiply matrices, and the attributes by which each operand is transposed. */
export const PRODUCTS: Readonly<Record<string, readonly [left: string, right: string]>> = {
  MatMul: ['transpose_a', 'transpose_b'],
  BatchMatMulV2: ['adj_x', 'adj_y'],
}

/** Makes every op that runs eagerly see held weights widened. Once, when TensorFlow is loaded. */
export function widenHeldWeights(node: TfjsNode): void {
  const { executeSingleOutput, executeMultipleOutputs, getInputTensorIds, readSync } = node
  const held = new WeakMap<object, Held>()
  const widener = new Widener(node)
  node.held = held
  const withWidened = <Result>(inputs: tf.Tensor[], execute: (inputs: tf.Tensor[]) => Result): Result => {
    const isHeld = inputs.map(({ dataId }) => held.has(dataId))
    if (!isHeld.includes(true)) return execute(inputs)
    const given = inputs.map((tensor, i) => (isHeld[i] ? widener.widen(tensor) : tensor))
    try {
      return execute(given)
    } finally {
      tf.dispose(given.filter((_, i) => isHeld[i]))
    }
  }
  node.getInputTensorIds = (tensors) =>
    tensors.map((tensor) =>
      held.has(tensor.dataId) ? widener.idOf(tensor) : getInputTensorIds.call(node, [tensor])[0],
    )
  node.executeSingleOutput = (op, attributes, inputs) => {
    const of = inputs.map(({ dataId }) => held.get(dataId))
    if (of[0] && PICKING[op] && !of[0].transposed) return widener.pick(op, attributes, inputs, of[0])
    const flags = PRODUCTS[op]
    if (!flags || !of.some((one) => one?.transposed))
      return withWidened(inputs, (given) => executeSingleOutput.call(node, op, attributes, given))
    // A product transposes a weight itself: as large as an unembedding may be, it is widened once, not twice.
    const turned = flags.filter((_, i) => of[i]?.transposed)
    const flipped = attributes.map((one) => (turned.includes(one.name) ? { ...one, value: !one.value } : one))
    const given = inputs.map((tensor, i) => (of[i] ? widener.widen(tensor, false) : tensor))
    try {
      return executeSingleOutput.call(node, op, flipped, given)
    } finally {
      tf.dispose(given.filter((_, i) => of[i]))
    }
  }
  node.executeMultipleOutputs = (op, attributes, inputs, count) =>
    withWidened(inputs, (given) => executeMultipleOutputs.call(node, op, attributes, given, count))
  node.readSync = (dataId) => {
    const { shape } = node.tensorMap.get(dataId)
    if (!held.has(dataId)) return readSync.call(node, dataId)
    const widened = widener.widen({ dataId, shape } as tf.Tensor)
    try {
      return readSync.call(node, widened.dataId)
    } finally {
      widened.dispose()
    }
  }
}

/** Runs TensorFlow's ops on what is held, by TensorFlow's ids of tensors. */
class Widener {
  constructor(private readonly node: TfjsNode) {}

  /** TensorFlow's id of what a tensor is held as. */
  idOf({ dataId }: tf.Tensor): number {
    const { node } = this
    const info = node.tensorMap.get(dataId)
    if (info.id < 0) info.id = this.make(node.held!.get(dataId) as Held)
    return info.id
  }

  /** A tensor of float32; not `turned`: with the rows that are held. */
  widen(tensor: tf.Tensor, turned = true): tf.Tensor {
    const held = this.node.held!.get(tensor.dataId) as Held
    const transposed = held.transposed && turned
    return this.node.createOutputTensor(this.widened(this.idOf(tensor), { ...held, transposed }))
  }

  /** What an op of PICKING gives of a held tensor: picked as it is held, then widened. */
  pick(op: string, attributes: OpAttribute[], inputs: tf.Tensor[], held: Held): tf.Tensor {
    const { node } = this
    const type = this.type(PICKING[op], DATA_TYPES[held.dtype])
    const others = attributes.filter(({ name }) => name !== type.name)
    const [{ id }] = node.binding.executeOp(op, [...others, type], node.getInputTensorIds(inputs), 1)
    return this.once(id, () => node.createOutputTensor(this.widened(id, held)))
  }

  private make({ bytes, shape, dtype, entry }: Held): number {
    const { binding } = this.node
    if (entry) return this.entryId(entry.of, entry.index)
    const size = dtype === 'uint8' ? [] : [2]
    const id = binding.createTensor([...shape, ...size], DATA_TYPES.uint8, bytes as Uint8Array)
    if (dtype === 'uint8') return id
    const types = [this.type('T', DATA_TYPES.uint8), this.type('type', DATA_TYPES[dtype])]
    return this.once(id, () => binding.executeOp('Bitcast', types, [id], 1)[0].id)
  }

  private entryId(of: tf.Tensor, index: number): number {
    const { binding } = this.node
    const { dtype } = this.node.held!.get(of.dataId) as Held
    const bounds = [index, index + 1, 1].map((at) =>
      binding.createTensor([1], DATA_TYPES.int32, Int32Array.of(at)),
    )
    const masks = ['begin_mask', 'end_mask', 'ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask']
    const attributes = [
      this.type('T', DATA_TYPES[dtype]),
      this.type('Index', DATA_TYPES.int32),
      ...masks.map((name) => ({
        name,
        type: binding.TF_ATTR_INT,
        value: Number(name === 'shrink_axis_mask'),
      })),
    ]
    const [{ id }] = binding.executeOp('StridedSlice', attributes, [this.idOf(of), ...bounds], 1)
    for (const bound of bounds) binding.deleteTensor(bound)
    return id
  }

  private widened(id: number, { dtype, groups, transposed, in: numbers }: Held): TensorMetadata {
    const { binding } = this.node
    const float = this.type('DstT', DATA_TYPES.float32)
    const int = (name: string, value: number) => ({ name, type: binding.TF_ATTR_INT, value })
    const [wide] = groups
      ? binding.executeOp(
          WIDEN_GROUPS,
          [
            ...[int('in', numbers), int('bits', groups.bits), int('group', groups.group)],
            { name: 'floats', type: binding.TF_ATTR_BOOL, value: groups.floats === true },
          ],
          [id],
          1,
        )
      : binding.executeOp('Cast', [this.type('SrcT', DATA_TYPES[dtype]), float], [id], 1)
    if (!transposed) return wide
    return this.once(wide.id, () => {
      const order = binding.createTensor([2], DATA_TYPES.int32, Int32Array.of(1, 0))
      const types = [this.type('T', DATA_TYPES.float32), this.type('Tperm', DATA_TYPES.int32)]
      return this.once(order, () => binding.executeOp('Transpose', types, [wide.id, order], 1)[0])
    })
  }

  private type(name: string, value: number): OpAttribute {
    return { name, type: this.node.binding.TF_ATTR_TYPE, value }
  }

  /** Frees a tensor when `work` is done. */
  private once<Result>(id: number, work: () => Result): Result {
    try {
      return work()
    } finally {
      this.node.binding.deleteTensor(id)
    }
  }
}

/** The kernel that widens weights in groups: [..., out, bytes of a row] -> float32 [..., out, in]. */
export const WIDEN_GROUPS = 'TinymoeWiden'
