import { Form } from './form.ts'
import { FLOAT, type GraphNode } from './protobuf.ts'
import { bare, Readers } from './readers.ts'
import type { Product, Recording } from './recorder.ts'

/** `x W + residual` of one row as one op, which takes the residual for its bias. */
export function joinResiduals(graph: Recording): Recording {
  const readers = new Readers(graph)
  const rows = new Map(graph.products.filter(isOfOneRow).map((product) => [product.node.name, product]))
  const nodes = graph.nodes.flatMap((node) => {
    if (node.op !== 'Add' && node.op !== 'AddV2') return [node]
    const sums = node.input.map((ref) => readers.behind(ref))
    const side = [1, 0].find((i) => rows.has(sums[i]) && readers.of(sums[i]) === 1)
    if (side === undefined) return [node]
    return joined(node, rows.get(sums[side]) as Product, node.input[1 - side])
  })
  return { ...graph, nodes }
}

/** Of one row [1, k] by a matrix, so that a sum of the same shape has one number a column. */
function isOfOneRow({ left, right, shape }: Product): boolean {
  return left.shape.length === 2 && right.shape.length === 2 && shape[0] === 1 && !left.transposed
}

function joined({ name }: GraphNode, { node, right, shape }: Product, residual: string): GraphNode[] {
  const form = new Form(name)
  const bias = form.reshape(residual, [shape[1]])
  const attr = {
    T: FLOAT,
    transpose_a: { b: false },
    transpose_b: { b: right.transposed },
    num_args: { i: 1 },
    fused_ops: { list: { s: [Buffer.from('BiasAdd')] } },
  }
  form.add('_FusedMatMul', [...node.input, bias], attr)
  return form.ending()
}

/**
 * Scores that are a softmax of all logits and then divided by the sum of the chosen are a softmax of the chosen logits: of a softmax,
 * top-k, sum and division the last two become one op and the first goes. Equal logits are as equal as their scores.
 */
export function routeByLogits(graph: Recording): Recording {
  const readers = new Readers(graph)
  const replaced = new Map<string, GraphNode>()
  for (const node of graph.nodes) {
    if (node.op !== 'RealDiv') continue
    const [chosen, sum] = node.input.map((ref) => readers.node(ref))
    const scores = chosen && readers.node(chosen.input[0])
    const isSum = sum?.op === 'Sum' && bare(sum.input[0]) === bare(node.input[0])
    if (chosen?.op !== 'TopKV2' || scores?.op !== 'Softmax' || !isSum) continue
    if (readers.of(node.input[0]) !== 2 || readers.of(node.input[1]) !== 1) continue
    if (readers.of(chosen.input[0]) !== 1) continue
    replaced.set(chosen.name, { ...chosen, input: [scores.input[0], ...chosen.input.slice(1)] })
    replaced.set(node.name, { ...node, op: 'Softmax', input: [node.input[0]] })
  }
  return { ...graph, nodes: graph.nodes.map((node) => replaced.get(node.name) ?? node) }
}
