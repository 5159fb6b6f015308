import { type GraphNode, nodeOf } from './protobuf.ts'
import type { Recording } from './recorder.ts'

/** Who reads each node in a run that fetches all outputs, and what stands behind nodes that only give a shape or a name. */
export class Readers {
  private readonly byName: Map<string, GraphNode>
  private readonly counts = new Map<string, number>()
  private readonly running = new Set<GraphNode>()

  constructor({ nodes, outputs }: Recording) {
    this.byName = new Map(nodes.map((node) => [node.name, node]))
    const left = Object.values(outputs).map(({ ref }) => ref)
    for (let ref = left.pop(); ref !== undefined; ref = left.pop()) {
      this.counts.set(bare(ref), this.of(ref) + 1)
      const node = this.node(ref)
      if (!node || this.running.has(node)) continue
      this.running.add(node)
      left.push(...node.input)
    }
  }

  node(ref: string): GraphNode | undefined {
    return this.byName.get(nodeOf(ref))
  }

  /** The nodes that such a run needs. */
  get run(): readonly GraphNode[] {
    return [...this.running]
  }

  /** How often an output is read or fetched. */
  of(ref: string): number {
    return this.counts.get(bare(ref)) ?? 0
  }

  /**
   * What `ref` is another name of, or another shape of where those count as one, if nobody else reads it in between, nor does what is
   * in between wait for other nodes.
   */
  behind(ref: string, ops: readonly string[] = ['Identity']): string {
    const node = this.node(ref)
    const passes = node && ops.includes(node.op) && this.of(ref) === 1 && !node.input.some(isControl)
    return passes ? this.behind(node.input[0], ops) : ref
  }
}

export const bare = (ref: string) => (ref.endsWith(':0') ? ref.slice(0, -2) : ref)

const isControl = (ref: string) => ref.startsWith('^')
