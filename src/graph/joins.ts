import { CACHED_ATTENTION, FUSED, PRODUCT, ROUTE } from '../backend/kernels.ts'
import type { Plan } from './plan.ts'
import { FLOAT, type GraphNode } from './protobuf.ts'
import { bare, Readers } from './readers.ts'
import type { Recording } from './recorder.ts'

/**
 * A pass, for few rows on a processor, where a node costs as much as some thousands of multiplications: neighbours that one kernel
 * computes at once. What they were stays beside it without effect unless fetched; tests/graph/joins.test.ts compares.
 */
export function joinNeighbours(graph: Recording, { products }: Plan): Recording {
  if (products !== 'fewRows') return graph
  return [attendCached, route, addSums].reduce((joined, pass) => pass(joined), graph)
}

/** Puts nodes in the place of others of their names, and has readers of some outputs read others. */
function replaced(
  graph: Recording,
  nodes: ReadonlyMap<string, GraphNode>,
  refs: ReadonlyMap<string, string> = new Map(),
): Recording {
  const read = (ref: string) => refs.get(bare(ref)) ?? ref
  const all = graph.nodes.map((node) => {
    const now = nodes.get(node.name) ?? node
    return refs.size === 0 ? now : { ...now, input: now.input.map(read) }
  })
  return { ...graph, nodes: all }
}

const SHAPES = ['Reshape', 'Identity']

/**
 * Keys and values go from a projection into the cache, in its own memory, and the queries look at what is there: rotation, split,
 * `InplaceUpdate` and attention, with the shapes in between.
 */
function attendCached(graph: Recording): Recording {
  const readers = new Readers(graph)
  const nodes = new Map<string, GraphNode>()
  const refs = new Map<string, string>()
  const attentions = readers.run.filter(({ op }) => op === FUSED.attention.op)
  for (const { name, input } of attentions) {
    const cached = cachedAttention(name, input, readers)
    const reader = cached && readers.run.find((node) => node.input.includes(name))
    if (!cached || reader?.op !== 'Reshape' || readers.of(name) !== 1) continue
    nodes.set(name, cached)
    refs.set(reader.name, name) // rows already
  }
  return replaced(graph, nodes, refs)
}

function cachedAttention(name: string, input: string[], readers: Readers): GraphNode | null {
  const [queries, keys, values, mask] = input
  const of = (ref: string, op: string) => {
    const node = readers.node(readers.behind(ref, SHAPES))
    return node?.op === op ? node : undefined
  }
  const parts = readers.node(keys)
  if (parts?.op !== 'Unpack' || bare(keys) !== parts.name || values !== `${parts.name}:1`) return null
  const written = of(parts.input[0], 'InplaceUpdate')
  const split = written && of(written.input[2], 'SplitV')
  const cache = written && of(written.input[0], 'ReadVariableOp')
  if (!split || !cache || bare(readers.behind(queries, SHAPES)) !== split.name) return null
  if ([keys, values, queries, written.name].some((ref) => readers.of(ref) !== 1)) return null
  const rope = of(split.input[0], FUSED.rope.op)
  const x = readers.behind(rope ? rope.input[0] : split.input[0], SHAPES)
  const tables = rope ? rope.input.slice(1) : []
  const attr = { turns: { i: tables.length }, rotary: rope?.attr.rotary ?? { i: 0 } }
  return {
    name,
    op: CACHED_ATTENTION,
    input: [x, cache.name, written.input[1], mask, ...tables],
    attr,
  }
}

/** The largest logits, and a softmax: of all logits before, also divided by the sum of the chosen then, or of the chosen after. */
function route(graph: Recording): Recording {
  const readers = new Readers(graph)
  const nodes = new Map<string, GraphNode>()
  const refs = new Map<string, string>()
  for (const node of readers.run.filter(({ op }) => op === 'TopKV2')) {
    const [compared, count] = node.input
    const scores = readers.node(compared)
    const all = scores?.op === 'Softmax' && readers.of(compared) === 1 ? scores : undefined
    const share = readers.run.find((reader) =>
      all ? isShare(reader, node, readers) : reader.op === 'Softmax' && bare(reader.input[0]) === node.name,
    )
    const ofChosen = share !== undefined && readers.of(node.name) === (all ? 2 : 1)
    const k = numberOf(readers.node(count))
    if (k === null || !(all || ofChosen)) continue
    const attr = { k: { i: k }, of_chosen: { b: ofChosen } }
    nodes.set(node.name, { name: node.name, op: ROUTE, input: [all ? all.input[0] : compared], attr })
    if (!ofChosen) continue
    nodes.set(share.name, { name: share.name, op: 'Identity', input: [node.name], attr: { T: FLOAT } })
    refs.set(share.name, node.name)
  }
  return replaced(graph, nodes, refs)
}

/** Whether a node divides what was chosen by its sum. */
function isShare({ op, input }: GraphNode, { name }: GraphNode, readers: Readers): boolean {
  if (op !== 'RealDiv' || bare(input[0]) !== name || readers.of(input[1]) !== 1) return false
  const sum = readers.node(input[1])
  return sum?.op === 'Sum' && bare(sum.input[0]) === name
}

/** A constant's one whole number. */
function numberOf(node?: GraphNode): number | null {
  const value = node?.attr.value
  return value && 'tensor' in value ? value.tensor.tensor_content.readInt32LE(0) : null
}

/** `x W + y`: a product's kernel, or that of chosen experts, adds what is there already. */
function addSums(graph: Recording): Recording {
  const readers = new Readers(graph)
  const nodes = new Map<string, GraphNode>()
  for (const { name, op, input } of readers.run) {
    if (op !== 'Add' && op !== 'AddV2') continue
    const sums = input.map((ref) => readers.behind(ref))
    const side = [1, 0].find((i) => canAdd(readers.node(sums[i])) && readers.of(sums[i]) === 1)
    const sum = side === undefined ? undefined : readers.node(sums[side])
    if (!sum) continue
    nodes.set(name, {
      ...sum,
      name,
      input: [...sum.input, input[1 - side!]],
      attr: { ...sum.attr, joins: { i: 1 } },
    })
  }
  return replaced(graph, nodes)
}

function canAdd(node?: GraphNode): boolean {
  return node?.op === PRODUCT || node?.op === FUSED.experts.op
}
