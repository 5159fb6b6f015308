import { FUSED } from '../backend/fused.ts'
import type { Plan } from './plan.ts'
import { DATA_TYPES, type GraphNode } from './protobuf.ts'
import type { Recording } from './recorder.ts'

/**
 * A pass: the fused kernels that were noted while the graph was recorded, each in the place of its steps, which stay beside it
 * without effect unless fetched.
 */
export function fuse(graph: Recording, { expertParts }: Plan): Recording {
  const nodes = graph.nodes.flatMap((node) => {
    const kernel = graph.fused?.get(node.name)
    if (!kernel) return [node]
    return kernel.op === FUSED.experts.op && expertParts > 1 ? inParts(kernel, expertParts) : [kernel]
  })
  return { ...graph, nodes }
}

/** The experts' kernel as several that TensorFlow runs side by side, each for a part of the channels of every expert. */
function inParts(kernel: GraphNode, parts: number): GraphNode[] {
  const { name } = kernel
  const each = Array.from({ length: parts }, (_, part) => ({
    ...kernel,
    name: `${name}/part${part}`,
    attr: { ...kernel.attr, part: { i: part }, parts: { i: parts } },
  }))
  const attr = { T: { type: DATA_TYPES.float32 }, N: { i: parts } }
  return [...each, { name, op: 'AddN', input: each.map((part) => part.name), attr }]
}
