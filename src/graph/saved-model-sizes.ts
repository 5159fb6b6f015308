import { isDeepStrictEqual } from 'node:util'
import { DATA_TYPES, type GraphNode, shapeProto } from './protobuf.ts'
import type { GraphBuilder } from './saved-model-builder.ts'
import type { SizeNodes } from './saved-model-inputs.ts'
import type { Sizes } from './saved-model-record.ts'

/** Two of each size. None equals a number that a model is likely made of, so that no reshape falls away by chance. */
const BATCH = [3, 5]
const TOKENS = [7, 11]
const PAST = [13, 17]

/** Every combination; a size is a binary digit of the index: 1 batch, 2 tokens, 4 past. */
const CORNERS: Sizes[] = Array.from({ length: 8 }, (_, i) => ({
  batch: BATCH[i & 1],
  tokens: TOKENS[(i >> 1) & 1],
  past: PAST[(i >> 2) & 1],
}))
/** Numbers found from the corners have to be right here too. */
const CHECK: Sizes = { batch: 2, tokens: 9, past: 19 }
/** The sizes to record a forward with before `withFreeSizes` can say how its graph depends on them. */
export const RECORDED_SIZES: readonly Sizes[] = [...CORNERS, CHECK]

/**
 * The nodes of one graph for all sizes, from recordings with `RECORDED_SIZES`: they may differ in whole-number constants
 * only (shapes, counts, bounds), and each such number has to be a sum of products of B, T and S; or in the shape of a
 * constant whose elements are all equal (zeros, ones). Such constants are then computed from the call's sizes, by nodes
 * added to `graph`. Placeholders are left out.
 * @throws Error naming the node whose dependence on the sizes is another one
 */
export function withFreeSizes(
  recordings: readonly (readonly GraphNode[])[],
  graph: GraphBuilder,
  sizes: SizeNodes,
): GraphNode[] {
  const [first] = recordings
  if (recordings.some((nodes) => nodes.length !== first.length)) {
    throw new Error('export: the graph has more nodes for some sizes than for others')
  }
  const numbers = new SizeNumbers(graph, sizes)
  return first.flatMap((node, i) => {
    const variants = recordings.map((nodes) => nodes[i])
    if (node.op === 'Placeholder') return []
    if (variants.every((variant) => isDeepStrictEqual(variant, node))) return [node]
    numbers.replace(variants)
    return []
  })
}

/** Writes the numbers that depend on sizes as nodes. */
class SizeNumbers {
  private readonly known = new Map<string, string>()

  constructor(
    private readonly graph: GraphBuilder,
    private readonly sizes: SizeNodes,
  ) {}

  /** Adds a node that has the constant's name and, at every size, its value. */
  replace(variants: readonly GraphNode[]): void {
    const [{ name, op }] = variants
    const constants = variants.map(constantOf)
    const [first] = constants
    if (
      first &&
      constants.every((c) => c !== null && isDeepStrictEqual(c.shape, first.shape) && isWhole(c))
    ) {
      const entries = this.entries(
        name,
        constants.map((c) => wholeNumbers(c as ConstantValue)),
      )
      this.graph.reshape(this.graph.vector(entries), 'int32', first.shape, name)
      return
    }
    const element = first && elementOf(first)
    if (!element || !constants.every((c) => c && c.dtype === first.dtype && elementOf(c)?.equals(element))) {
      throw new Error(`export: the ${op} ${name} depends on the sizes in another way than by its numbers`)
    }
    const shape = this.graph.vector(
      this.entries(
        name,
        constants.map((c) => (c as ConstantValue).shape),
      ),
    )
    const value = { ...variants[0], name: `${name}/value`, attr: scalarAttributes(first.dtype, element) }
    this.graph.nodes.push(value)
    const attr = { T: { type: first.dtype }, index_type: { type: DATA_TYPES.int32 } }
    this.graph.node('Fill', [shape, value.name], attr, name)
  }

  /** Lists of numbers, one list a recording, entry by entry. */
  private entries(name: string, lists: ArrayLike<number>[]): (string | number)[] {
    return Array.from(lists[0], (_, i) => {
      return this.entry(
        name,
        lists.map((list) => list[i]),
      )
    })
  }

  /** The sum of products that has these values at the corners. */
  private entry(name: string, values: number[]): string | number {
    const coefficients = solve(values.slice(0, CORNERS.length))
    const { batch: B, tokens: T, past: S } = CHECK
    const products = [1, B, T, B * T, S, B * S, T * S, B * T * S]
    const predicted = products.reduce((sum, product, i) => sum + product * coefficients[i], 0)
    if (!coefficients.every(Number.isInteger) || predicted !== values[CORNERS.length]) {
      throw new Error(`export: a number of ${name} is no sum of products of the sizes (${values.join(', ')})`)
    }
    const [offset, ...rest] = coefficients
    if (rest.every((c) => c === 0)) return offset
    const key = coefficients.join()
    const known = this.known.get(key) ?? this.sum(coefficients)
    this.known.set(key, known)
    return known
  }

  private sum(coefficients: number[]): string {
    const { graph } = this
    return coefficients
      .flatMap((c, i) => {
        if (c === 0) return []
        if (i === 0) return [graph.ints(c)]
        const product = this.product(i)
        return [c === 1 ? product : graph.typed('Mul', 'int32', product, graph.ints(c))]
      })
      .reduce((sum, term) => graph.typed('AddV2', 'int32', sum, term))
  }

  /** The product of the sizes whose binary digits are set in `digits`, as in `CORNERS`. */
  private product(digits: number): string {
    const { batch, tokens, past } = this.sizes
    return [batch, tokens, past]
      .filter((_, axis) => digits & (1 << axis))
      .reduce((product, size) => this.graph.typed('Mul', 'int32', product, size))
  }
}

interface ConstantValue {
  dtype: number
  shape: number[]
  bytes: Buffer
}

function constantOf({ op, attr: { value } }: GraphNode): ConstantValue | null {
  if (op !== 'Const' || !value || !('tensor' in value) || !('tensor_content' in value.tensor)) return null
  const { dtype, tensor_shape, tensor_content: bytes } = value.tensor
  return { dtype, shape: tensor_shape.dim.map(({ size }) => size), bytes }
}

function isWhole({ dtype }: ConstantValue): boolean {
  return dtype === DATA_TYPES.int32
}

function wholeNumbers({ bytes }: ConstantValue): Int32Array {
  const { buffer, byteOffset, byteLength } = Uint8Array.from(bytes)
  return new Int32Array(buffer, byteOffset, byteLength / 4)
}

/** The one value that all of a constant's elements have; null when they differ. */
function elementOf({ shape, bytes }: ConstantValue): Buffer | null {
  const size = bytes.length / shape.reduce((a, b) => a * b, 1)
  const element = bytes.subarray(0, size)
  for (let at = size; at < bytes.length; at += size) {
    if (!bytes.subarray(at, at + size).equals(element)) return null
  }
  return element
}

function scalarAttributes(dtype: number, element: Buffer): GraphNode['attr'] {
  return {
    dtype: { type: dtype },
    value: { tensor: { dtype, tensor_shape: shapeProto([]), tensor_content: element } },
  }
}

/** Coefficients of 1, B, T, BT, S, BS, TS, BTS from the values at the corners: along each size in turn a line. */
function solve(corners: number[]): number[] {
  const coefficients = [...corners]
  ;[BATCH, TOKENS, PAST].forEach(([low, high], axis) => {
    const bit = 1 << axis
    for (let i = 0; i < coefficients.length; i++) {
      if (i & bit) continue
      const slope = (coefficients[i + bit] - coefficients[i]) / (high - low)
      coefficients[i] -= slope * low
      coefficients[i + bit] = slope
    }
  })
  return coefficients
}
