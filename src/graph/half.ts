import type { HalfDtype } from '../backend/dtypes.ts'
import { DATA_TYPES, type GraphNode, nodeOf } from './protobuf.ts'
import type { GraphVariable, Product, Recording } from './recorder.ts'

/** Ops that give the same numbers in another shape, or some of them. The attribute T is the numbers' type. */
const VIEWS = new Set(['Reshape', 'Slice', 'StridedSlice', 'SplitV', 'Unpack'])

/**
 * Makes products with weights multiply in half precision: the weight is a variable of that type, the other operand is
 * rounded before and the result widened after. Only weights that nothing but products use, as they are or cut: what else
 * a graph computes stays float32. So do the weights in `exact`, by their `dataId`.
 */
export function inHalf(recording: Recording, dtype: HalfDtype, exact: ReadonlySet<object>): Recording {
  const views = new Map<GraphVariable, string[]>()
  const users = new Users(recording)
  for (const variable of recording.variables) {
    if (exact.has(variable.tensor.dataId) || variable.tensor.dtype !== 'float32') continue
    const found = users.viewsToProducts(variable.name)
    if (found) views.set(variable, found)
  }
  return new Halving(recording, dtype, views).result
}

/** Who reads what in a recording. */
class Users {
  private readonly readers = new Map<string, GraphNode[]>()
  private readonly products: Set<GraphNode>
  private readonly fetched: Set<string>

  constructor({ nodes, products, outputs }: Recording) {
    for (const { name } of nodes) this.readers.set(name, [])
    for (const node of nodes) for (const ref of node.input) this.of(nodeOf(ref)).push(node)
    this.products = new Set(products.map(({ node }) => node))
    this.fetched = new Set(Object.values(outputs).map(({ ref }) => nodeOf(ref)))
  }

  /** The nodes from a variable to the products that use it; null if anything else uses it. */
  viewsToProducts(variable: string): string[] | null {
    const found = this.of(variable).filter(({ op }) => op === 'ReadVariableOp')
    for (const node of found) {
      if (this.fetched.has(node.name)) return null
      const others = this.of(node.name).filter((reader) => !this.products.has(reader))
      if (!others.every(({ op }) => VIEWS.has(op))) return null
      found.push(...others)
    }
    return found.map(({ name }) => name)
  }

  private of(name: string): GraphNode[] {
    return this.readers.get(name) as GraphNode[]
  }
}

/** The recording again, with the variables of `views` in half precision. */
class Halving {
  readonly result: Recording
  private readonly half: { type: number }
  private readonly views: Set<string>
  private readonly products = new Map<GraphNode, Product>()
  /** Names of the variables. */
  private readonly variables: Set<string>
  private readonly rounded = new Set<string>()

  constructor(recording: Recording, dtype: HalfDtype, views: Map<GraphVariable, string[]>) {
    this.half = { type: DATA_TYPES[dtype] }
    this.views = new Set([...views.values()].flat())
    this.variables = new Set([...views.keys()].map(({ name }) => name))
    const isHalf = ({ ref }: Product['left']) => this.views.has(nodeOf(ref))
    for (const product of recording.products) {
      if (isHalf(product.left) || isHalf(product.right)) this.products.set(product.node, product)
    }
    this.result = {
      ...recording,
      nodes: recording.nodes.flatMap((node) => this.nodesFor(node)),
      products: recording.products.filter(({ node }) => !this.products.has(node)),
      variables: recording.variables.map((variable) =>
        views.has(variable) ? { ...variable, dtype } : variable,
      ),
    }
  }

  private nodesFor(node: GraphNode): GraphNode[] {
    const product = this.products.get(node)
    if (product) return this.multiplied(product)
    if (!this.views.has(node.name) && !this.variables.has(node.name)) return [node]
    const type = VIEWS.has(node.op) ? 'T' : 'dtype'
    return [{ ...node, attr: { ...node.attr, [type]: this.half } }]
  }

  private multiplied({ node, left, right }: Product): GraphNode[] {
    const nodes: GraphNode[] = []
    const input = [left, right].map(({ ref }) => (this.views.has(nodeOf(ref)) ? ref : this.round(ref, nodes)))
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

const FLOAT = { type: DATA_TYPES.float32 }
