import { DATA_TYPES, type GraphNode, nodeOf } from '../../src/graph/protobuf.ts'
import type { CardStep } from './card-steps.ts'
import type { Argument, Registration, Registrations } from './registrations.ts'

/** What a card would make of a graph, by the kernels that TensorFlow's CUDA build has. */
export interface CardCheck {
  /** Ops and types for which there is no kernel on a card. */
  missing: string[]
  /** What the host waits for within the step: outputs on the card that an op reads in the host's memory, as `OP => OP`. */
  waits: string[]
  /** Outputs in the host's memory that an op reads on the card. */
  toCard: string[]
  /** Ops that are launched on the card, and how often each. */
  launches: Record<string, number>
}

/** Whether a node computes nothing on a card: it passes memory on. A cut along the first of several axes is a view. */
const VIEWS = /^(Const|Placeholder|VarHandleOp|ReadVariableOp|Reshape|ExpandDims|Identity|Bitcast)$/

/** What a run keeps or changes, so that it is never computed once and for all. */
const STATEFUL = /^(Placeholder|VarHandleOp|ReadVariableOp|InplaceUpdate)$/

/** Checks the nodes that a step needs, without TensorFlow: placement.test.ts compares with what TensorFlow says. */
export function checkGraph(step: CardStep, registrations: Registrations): CardCheck {
  const graph = new CheckedGraph(step, registrations)
  const { nodes } = graph
  const waits = new Set<string>()
  const toCard = new Set<string>()
  const check: CardCheck = { missing: [], waits: [], toCard: [], launches: {} }
  for (const node of nodes) {
    const memory = graph.memory(node)
    if (!memory) {
      check.missing.push(`${node.op} ${typesOf(node)}`.trim())
      continue
    }
    if (graph.isConstant(node)) continue
    if (launches(node, memory.outputs, graph)) check.launches[node.op] = (check.launches[node.op] ?? 0) + 1
    node.input.forEach((ref, i) => {
      if (ref.startsWith('^') || step.fed.includes(nodeOf(ref))) return
      const copied = graph.copied(ref, memory.inputs[i])
      if (copied) (copied.to === 'host' ? waits : toCard).add(`${ref}|${copied.from} => ${node.op}`)
    })
  }
  // A copy serves all its readers.
  const once = (found: Set<string>) => [
    ...new Map([...found].map((line) => line.split('|') as [string, string])).values(),
  ]
  return { ...check, waits: once(waits), toCard: once(toCard) }
}

/** How often each op is launched, of nodes on a card by their names, `onCard`, as TensorFlow placed them. */
export function launchesOf(onCard: ReadonlyMap<string, string>, step: CardStep): Record<string, number> {
  const graph = new CheckedGraph(step, {})
  const views = new Set(graph.nodes.filter((node) => graph.cutsRows(node)).map(({ name }) => name))
  const counts: Record<string, number> = {}
  for (const [name, op] of onCard) if (!VIEWS.test(op) && !views.has(name)) counts[op] = (counts[op] ?? 0) + 1
  return counts
}

export function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0)
}

function launches(node: GraphNode, outputs: Place[], graph: CheckedGraph): boolean {
  if (VIEWS.test(node.op) || outputs.every((place) => place === 'host')) return false
  return !graph.cutsRows(node)
}

type Place = 'host' | 'card'

class CheckedGraph {
  readonly nodes: GraphNode[]
  private readonly byName: Map<string, GraphNode>
  private readonly constants = new Map<string, boolean>()

  constructor(
    { nodes, fetched }: CardStep,
    private readonly registrations: Registrations,
  ) {
    this.byName = new Map(nodes.map((node) => [node.name, node]))
    const needed = new Set<GraphNode>()
    const open = [...fetched]
    for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
      const node = this.byName.get(nodeOf(ref))
      if (!node || needed.has(node)) continue
      needed.add(node)
      open.push(...node.input)
    }
    this.nodes = nodes.filter((node) => needed.has(node))
  }

  /** Where a node's inputs and outputs lie; null without a kernel. */
  memory(node: GraphNode): { inputs: Place[]; outputs: Place[] } | null {
    const registration: Registration | undefined = this.registrations[node.op]
    if (!registration) return null
    const types = { ...registration.defaults, ...typeAttributes(node) }
    const kernel = registration.kernels.find((candidate) =>
      Object.entries(candidate.types).every(([name, allowed]) => allowed.includes(types[name])),
    )
    if (!kernel) return null
    const places = (list: Argument[]) =>
      list.flatMap(({ name, type, attr, count }) => {
        const isHost = kernel.host.includes(name) || (type || types[attr]) === DATA_TYPES.resource
        return new Array<Place>(count ? integer(node, count) : 1).fill(isHost ? 'host' : 'card')
      })
    return { inputs: places(registration.inputs), outputs: places(registration.outputs) }
  }

  /** Whether TensorFlow's optimiser computes a node once and for all. */
  isConstant(node: GraphNode): boolean {
    const known = this.constants.get(node.name)
    if (known !== undefined) return known
    const inputs = node.input.map((ref) => this.byName.get(nodeOf(ref)))
    const constant =
      !STATEFUL.test(node.op) && inputs.every((input) => input !== undefined && this.isConstant(input))
    this.constants.set(node.name, constant)
    return constant
  }

  /** What a reader that wants `ref` at `to` makes TensorFlow copy; null where it is there. */
  copied(ref: string, to: Place): { from: string; to: Place } | null {
    const source = this.byName.get(nodeOf(ref)) as GraphNode
    const port = Number(ref.split(':')[1] ?? 0)
    const folded = this.isConstant(source) && source.op !== 'Const'
    const at = folded ? this.foldedPlace(source, port) : this.memory(source)?.outputs[port]
    return at === undefined || at === to ? null : { from: source.op, to }
  }

  /** Whether a node cuts whole rows of 64 bytes off the first of several axes, for which TensorFlow shares their memory. */
  cutsRows(node: GraphNode): boolean {
    const [data, axis] = {
      Split: [node.input[1], this.numbers(node.input[0])?.[0]],
      SplitV: [node.input[0], this.numbers(node.input[2])?.[0]],
      Unpack: [node.input[0], node.attr.axis && 'i' in node.attr.axis ? node.attr.axis.i : 0],
    }[node.op] ?? [null, null]
    if (node.op === 'StridedSlice') return this.isEntry(node)
    const source = data === null ? undefined : this.byName.get(nodeOf(data as string))
    if (axis !== 0 || source?.op !== 'Reshape') return false
    const shape = (this.numbers(source.input[1]) ?? []).map(Math.abs) // -1, what is left, does not make a row less whole
    return shape.length > 1 && shape.slice(1).reduce((a, b) => a * b, 1) % 16 === 0
  }

  /** Whether a node is one entry, at an index known beforehand, of a variable's first axis. */
  private isEntry({ input: [stack, ...bounds] }: GraphNode): boolean {
    const read = this.byName.get(nodeOf(stack))
    const shape = read?.op === 'ReadVariableOp' && this.byName.get(nodeOf(read.input[0]))?.attr.shape
    if (!shape || !('shape' in shape) || bounds.some((ref) => this.numbers(ref)?.length !== 1)) return false
    const row = shape.shape.dim.slice(1).reduce((product, { size }) => product * size, 1)
    return row % 32 === 0 // 64 bytes of two a number
  }

  /** A constant's place: TensorFlow keeps int32 in the host's memory. */
  private foldedPlace(node: GraphNode, port: number): Place {
    const { outputs } = this.registrations[node.op]
    const { type, attr } = outputs[Math.min(port, outputs.length - 1)]
    const dtype = type || { ...this.registrations[node.op].defaults, ...typeAttributes(node) }[attr]
    return dtype === DATA_TYPES.int32 ? 'host' : 'card'
  }

  private numbers(ref: string | undefined): number[] | null {
    const value = ref === undefined ? undefined : this.byName.get(nodeOf(ref))?.attr.value
    if (!value || !('tensor' in value) || value.tensor.dtype !== DATA_TYPES.int32) return null
    const { buffer, byteOffset, byteLength } = value.tensor.tensor_content
    return [...new Int32Array(buffer.slice(byteOffset, byteOffset + byteLength))]
  }
}

function typeAttributes({ attr }: GraphNode): Record<string, number> {
  return Object.fromEntries(
    Object.entries(attr).flatMap(([name, value]) => ('type' in value ? [[name, value.type]] : [])),
  )
}

function typesOf(node: GraphNode): string {
  const names = Object.fromEntries(Object.entries(DATA_TYPES).map(([name, number]) => [number, name]))
  return Object.entries(typeAttributes(node))
    .map(([name, type]) => `${name}=${names[type] ?? type}`)
    .join(' ')
}

function integer({ name, attr }: GraphNode, attribute: string): number {
  const value = attr[attribute]
  if (value && 'i' in value) return value.i
  throw new Error(`${name}: has no number ${attribute}`)
}
