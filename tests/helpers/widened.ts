import { WIDEN_GROUPS } from '../../src/backend/held.ts'
import { planFor } from '../../src/graph/plan.ts'
import { type GraphNode, nodeOf } from '../../src/graph/protobuf.ts'
import { planned } from '../../src/graph/session.ts'
import { recordStep } from '../../src/graph/step.ts'
import type { MoeModel } from '../../src/model/transformer.ts'

/** The nodes that a graph of so many rows runs for its logits. */
export function nodesRun({ config, weights }: MoeModel, rows: number): GraphNode[] {
  const plan = planFor({ rows })
  const shape = { batch: 1, tokens: rows, capacity: 64, dispatch: 'auto', logits: 'last' } as const
  const { nodes, outputs } = planned(recordStep(config, weights, shape, plan), plan)
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const seen = new Set<string>()
  const visit = (ref: string) => {
    const name = nodeOf(ref.replace('^', ''))
    if (seen.has(name)) return
    seen.add(name)
    for (const input of byName.get(name)?.input ?? []) visit(input)
  }
  visit(outputs.logits.ref)
  return [...seen].flatMap((name) => byName.get(name) ?? [])
}

/** How many weights in groups a graph of so many rows widens before they are multiplied, whatever reads them. */
export function widenedWeights(model: MoeModel, rows: number): number {
  return nodesRun(model, rows).filter(({ op }) => op === WIDEN_GROUPS).length
}
