import type { HalfDtype } from '../backend/dtypes.ts'
import type { HeldWeight } from './held-weights.ts'
import { DATA_TYPES, FLOAT, type GraphNode } from './protobuf.ts'
import type { Product, Recording } from './recorder.ts'

/**
 * Makes products with weights multiply in the half type that the weights are held in: the other operand is rounded before and the
 * result widened after. What else a graph computes stays float32. So do the products of weights that are exact.
 */
export function inHalf(recording: Recording, dtype: HalfDtype): Recording {
  const rounding = new Rounding(dtype)
  const isHalf = ({ ref }: Product['left']) => {
    const weight = recording.weights?.get(ref)
    return weight?.dtype === dtype && !recording.exact?.has(weight.dataId)
  }
  const chosen = recording.products.filter(({ left, right }) => isHalf(left) || isHalf(right))
  const products = new Map(chosen.map((product) => [product.node, product]))
  return {
    ...recording,
    nodes: recording.nodes.flatMap((node) => {
      const product = products.get(node)
      if (!product) return [node]
      const sides = [product.left, product.right]
      return rounding.multiplied(
        node,
        sides.map((side) => (isHalf(side) ? recording.weights?.get(side.ref) : undefined)),
      )
    }),
    products: recording.products.filter(({ node }) => !products.has(node)),
  }
}

class Rounding {
  private readonly half: { type: number }
  private readonly rounded = new Set<string>()

  constructor(dtype: HalfDtype) {
    this.half = { type: DATA_TYPES[dtype] }
  }

  /** The product's nodes; of each operand the weight that it is, if one that is held so. */
  multiplied(node: GraphNode, weights: (HeldWeight | undefined)[]): GraphNode[] {
    const nodes: GraphNode[] = []
    const input = node.input.map((ref, i) => weights[i]?.held ?? this.round(ref, nodes))
    const product = `${node.name}/half`
    return [
      ...nodes,
      { ...node, name: product, input, attr: { ...node.attr, T: this.half } },
      { name: node.name, op: 'Cast', input: [product], attr: { SrcT: this.half, DstT: FLOAT } },
    ]
  }

  /** The name under which `ref` is there rounded; what several products share is rounded once. */
  private round(ref: string, nodes: GraphNode[]): string {
    const name = `${ref.replace(':', '/')}/rounded`
    if (!this.rounded.has(name)) {
      nodes.push({ name, op: 'Cast', input: [ref], attr: { SrcT: FLOAT, DstT: this.half } })
    }
    this.rounded.add(name)
    return name
  }
}
