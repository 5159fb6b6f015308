import type { FusedName } from '../backend/kernels.ts'
import { LIMITS } from '../backend/limits.ts'
import { joinResiduals, routeByLogits } from './card-joins.ts'
import { Form } from './form.ts'
import type { Plan } from './plan.ts'
import type { GraphNode } from './protobuf.ts'
import type { FusedNode, Recording } from './recorder.ts'

/**
 * A pass for cards, where each op is launched by itself and a decoded token waits for launches more than for numbers: what was
 * noted for fused kernels becomes fewer of TensorFlow's ops than its steps, and neighbours join where TensorFlow has one op for
 * both. The same numbers but for rounding; tests/graph/card.test.ts compares. docs/gpu.md lists what remains.
 */
export function onCard(graph: Recording, { onCard }: Plan): Recording {
  if (!onCard) return graph
  const formed = withForms(graph)
  return joinResiduals(routeByLogits(formed))
}

/** How each is computed; null where its steps are as few. */
const FORMS: Partial<Record<FusedName, (form: Form, node: FusedNode) => string | null>> = {
  rmsNorm: rmsNorm,
  rope: rope,
  gated: (form, { input, shapes }) => gated(form, input[0], shapes[0]),
  expert: expert,
  experts: experts,
}

function withForms(graph: Recording): Recording {
  const products = [...graph.products]
  const types = new Map(graph.nodes.flatMap(typeOfWeight))
  const nodes = graph.nodes.flatMap((node): GraphNode[] => {
    const noted = graph.fused?.get(node.name)
    const form = noted && new Form(noted.name, types)
    const result = form && FORMS[noted.fused]?.(form, noted)
    if (!form || !result) return [node]
    products.push(...form.products)
    return [...form.nodes, { ...node, input: [result] }]
  })
  return { ...graph, nodes, products, fused: undefined }
}

/** What type a variable's numbers have where they are read or an entry is cut out of them. */
function typeOfWeight({ name, op, attr }: GraphNode): [string, number][] {
  const type = { ReadVariableOp: attr.dtype, StridedSlice: attr.T }[op]
  return type && 'type' in type ? [[name, type.type]] : []
}

/** Sum of squares, all else in one batch normalisation, and the weight: 3 ops, not 6, of one row. */
function rmsNorm(form: Form, { input: [x, weight], shapes: [shape], attr }: FusedNode): string | null {
  const D = shape[shape.length - 1]
  if (shape.some((size, i) => i < shape.length - 1 && size !== 1)) return null
  // x / sqrt(sum / D + eps) = x sqrt(D / 2) / sqrt(sum / 2 + eps D / 2)
  const half = form.op('L2Loss', [x])
  const variance = form.reshape(half, [1])
  const eps = ((attr.eps as { f: number }).f * D) / 2
  const image = form.reshape(x, [1, 1, 1, D]) // one channel
  const scale = form.numbers([Math.sqrt(D / 2)])
  const normal = form.batchNorm(image, {
    scale,
    offset: form.numbers([0]),
    mean: form.numbers([0]),
    variance,
    eps,
  })
  return form.op('Mul', [form.reshape(normal, shape), weight])
}

/** Of one token whose heads rotate whole: turn by half, a product, and product and sum in one batch normalisation: 3 ops, not 5. */
function rope(form: Form, { input: [x, cos, sin], shapes: [shape, table], attr }: FusedNode): string | null {
  const [B, T, N, d] = shape
  if (B * T !== 1 || table[2] !== N || (attr.rotary as { i: number }).i !== d) return null
  const swapped = form.op('Roll', [x, form.whole([d / 2]), form.whole([3])], {
    Tshift: 'int32',
    Taxis: 'int32',
  })
  const channels = N * d // each its own: scale and offset are the tables
  const of = (value: number) => form.numbers(new Array(channels).fill(value))
  const turned = form.batchNorm(form.reshape(x, [1, channels, 1, 1]), {
    scale: form.reshape(cos, [channels]),
    offset: form.reshape(form.op('Mul', [swapped, sin]), [channels]),
    mean: of(0),
    variance: of(1),
    eps: 0,
  })
  return form.reshape(turned, shape)
}

/**
 * silu(gate) * up of [2H, n] -> [H, n] by softplus' derivative, z -> dz sigmoid(z): 2 ops, as halves of rows are views. How many
 * columns there are is known in the graph only.
 */
function gated(form: Form, both: string, [rows]: readonly number[]): string {
  const [gate, up] = form.halves(form.reshape(both, [2, rows / 2, -1]))
  return silu(form, gate, up)
}

function silu(form: Form, gate: string, up: string): string {
  return form.op('SoftplusGrad', [form.op('Mul', [gate, up]), gate])
}

/** One expert for one row; of several, its steps are as few. */
function expert(
  form: Form,
  { input: [x, gateUp, down], shapes: [[T, D], [rows], [, H]] }: FusedNode,
): string | null {
  if (T !== 1) return null
  const both = form.matMul(x, [1, D], gateUp, [rows, D], { rightTransposed: true })
  const hidden = gated(form, form.reshape(both, [rows, 1]), [rows, 1])
  return form.matMul(form.reshape(hidden, [1, H]), [1, H], down, [D, H], { rightTransposed: true })
}

/**
 * The chosen experts of few assignments: their weights gathered, since to cut them out at an index the host would have to know it,
 * and all multiplied in one product of stacks each. x [T, D], gateUp [E, 2H, D], down [E, D, H], indices and weights [T, K].
 */
function experts(
  form: Form,
  { input: [x, gateUp, down, indices, weights], shapes: [[T, D], [, rows], , [, K]] }: FusedNode,
): string | null {
  const A = T * K
  if (A > LIMITS.gatherAssignments) return null
  const H = rows / 2
  const columns = form.reshape(x, [T, 1, D, 1])
  const both = form.stackMatMul(form.gather(gateUp, indices), [T, K, rows, D], columns, [T, 1, D, 1])
  const [gate, up] =
    A === 1 ? form.halves(form.reshape(both, [2, H])) : form.split(form.reshape(both, [A, 2, H]), 1)
  const hidden = form.reshape(silu(form, gate, up), [T, K, H, 1])
  const outputs = form.stackMatMul(form.gather(down, indices), [T, K, D, H], hidden, [T, K, H, 1])
  if (T === 1) return form.matMul(weights, [1, K], form.reshape(outputs, [K, D]), [K, D])
  const perToken = form.reshape(outputs, [T, K, D])
  const summed = form.stackMatMul(form.reshape(weights, [T, 1, K]), [T, 1, K], perToken, [T, K, D])
  return form.reshape(summed, [T, D])
}
