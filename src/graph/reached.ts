import { type GraphNode, nodeOf } from './protobuf.ts'

/** The nodes that `refs` depend on, themselves included: what a run that fetches them executes. */
export function reached(nodes: readonly GraphNode[], refs: readonly string[]): Set<GraphNode> {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const found = new Set<GraphNode>()
  const open = [...refs]
  for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
    const node = byName.get(nodeOf(ref))
    if (!node || found.has(node)) continue
    found.add(node)
    open.push(...node.input)
  }
  return found
}
