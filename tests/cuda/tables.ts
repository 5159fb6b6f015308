import { auditCases, forEachStep, labelOf } from './cases.ts'
import { launchesOf, total } from './check-graph.ts'
import { place } from './placement.ts'
import { REMAINING } from './remaining.ts'

/** The tables of docs/gpu.md, in Markdown, as TensorFlow's CUDA build places the steps now. */
export async function auditTables(): Promise<string> {
  const rows: (string | number)[][] = []
  let decoded: Record<string, number> = {}
  await forEachStep(auditCases(), (item, step) => {
    const placement = place(step)
    const launches = launchesOf(placement.onCard, step)
    if (item.model === 'moe' && item.dtype === 'float32' && item.dispatch === 'auto' && item.tokens === 1)
      decoded = launches
    const { onProcessor, waits, toCard, feeds, results } = placement
    rows.push([
      labelOf(item),
      onProcessor.length,
      waits.length,
      toCard.length,
      feeds,
      results,
      total(launches),
    ])
  })
  const steps = markdown(
    ['step', 'on the processor', 'waits', 'host to card', 'fed', 'fetched', 'launches'],
    rows,
  )
  const remaining = Object.entries(decoded).sort(([, a], [, b]) => b - a)
  const ops = markdown(
    ['op', 'launches', 'what it is', 'why no fused form serves'],
    remaining.map(([op, count]) => [op, count, ...(REMAINING[op] ?? ['', ''])]),
  )
  return `${steps}\n${ops}`
}

function markdown(head: string[], rows: (string | number)[][]): string {
  const line = (cells: (string | number)[]) => `| ${cells.join(' | ')} |\n`
  const left = rows[0]?.map((cell) => typeof cell === 'string') ?? []
  return [line(head), line(left.map((isText) => (isText ? '---' : '---:'))), ...rows.map(line)].join('')
}
