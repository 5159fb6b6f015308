import { type AttributeValue, type GraphNode, nodeOf } from '../graph/protobuf.ts'
import type { Recording } from '../graph/recorder.ts'
import { isMatmul, type Matmul, tensorflowMatmul } from './matmul.ts'

interface Shaped {
  shape: readonly number[]
}

/** Nodes that run a part of the graph or none of it, by what they are given: which products ran, nodes do not say. */
const CONDITIONAL =
  /^(Ref)?(Switch|Merge|Enter|Exit|NextIteration)$|^_SwitchN$|^(Stateless)?(If|Case|While)$|PartitionedCall$/

/**
 * The matrix products among the nodes that a run with `inputs` executes that fetches `refs`: those that `refs` depend on.
 * @throws Error for a node that may run or not, and for a product that is not known
 */
export function graphMatmuls(
  { nodes }: Pick<Recording, 'nodes'>,
  inputs: Record<string, Shaped>,
  refs: readonly string[],
) {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const running = executed(byName, refs)
  const products = nodes.filter((node) => running.has(node) && isMatmul(node.op))
  const fixed = new Map<string, readonly number[]>()
  const operands = new Set<string>()
  const operandsOf = ({ input }: GraphNode) => input.filter((ref) => !ref.startsWith('^'))
  for (const ref of products.flatMap(operandsOf)) {
    const shape = fixed.get(ref) ?? inputs[nodeOf(ref)]?.shape ?? fixedShape(byName, ref)
    if (shape) fixed.set(ref, shape)
    else operands.add(ref)
  }
  return {
    /** The operands whose shapes only the run knows, by their names in the graph. */
    operands: [...operands],
    /** The products, given the values of `operands` in this order. */
    resolve(values: Shaped[]): Matmul[] {
      const all = new Map(fixed)
      for (const [i, ref] of [...operands].entries()) all.set(ref, values[i].shape)
      return products.map((product) =>
        tensorflowMatmul(
          product.op,
          (name) => plain(product.attr[name]),
          operandsOf(product).map((ref) => all.get(ref) as readonly number[]),
        ),
      )
    },
  }
}

/** The nodes that `refs` depend on, themselves included. */
function executed(byName: Map<string, GraphNode>, refs: readonly string[]): Set<GraphNode> {
  const found = new Set<GraphNode>()
  const open = [...refs]
  for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
    const node = byName.get(nodeOf(ref))
    if (!node || found.has(node)) continue
    if (CONDITIONAL.test(node.op)) {
      throw new Error(
        `countMatmulFlops: the graph has a ${node.op}, and what it ran cannot be seen from outside`,
      )
    }
    found.add(node)
    open.push(...node.input)
  }
  return found
}

/** The shape of a variable's value, which no run changes. */
function fixedShape(byName: Map<string, GraphNode>, ref: string): number[] | null {
  const read = byName.get(nodeOf(ref))
  const variable = read?.op === 'ReadVariableOp' ? byName.get(nodeOf(read.input[0])) : undefined
  const shape = variable?.op === 'VarHandleOp' ? variable.attr.shape : undefined
  return shape && 'shape' in shape ? shape.shape.dim.map(({ size }) => size) : null
}

function plain(value: AttributeValue | undefined): unknown {
  if (value === undefined) return undefined
  if ('b' in value) return value.b
  return 's' in value ? value.s.toString() : value
}
