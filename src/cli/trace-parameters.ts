import type { ModelConfig } from '../model/config.ts'
import type { RoutingTrace } from '../model/trace.ts'
import { wrapped } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { parametersText } from '../text/units.ts'
import { type ParametersUsed, parametersUsed } from '../trace/parameters.ts'

const PART_NAMES: Record<keyof ParametersUsed['always'], string> = {
  attention: 'attention',
  router: 'router',
  sharedExperts: 'shared experts',
  dense: 'dense layers',
  norms: 'norms',
  embedding: 'embedding',
  unembedding: 'unembedding',
}

/** What `trace` says of the parameters that each token used: a line a token, and what all have in common. */
export function parametersLines(
  config: ModelConfig,
  trace: RoutingTrace,
  texts: readonly string[] | null,
  { width, dense }: { width: number; dense: boolean },
): string[] {
  const used = parametersUsed(config, trace)
  const total = parametersText(used.total)
  const tokens = trace.rows.flatMap(({ position }, t) => {
    const experts = trace.layers.map(({ layer }, l) => {
      const chosen = used.experts[t][l]
      return `${l === 0 ? `layer ${layer} experts` : `${layer}:`} ${chosen.join(', ') || 'none'}`
    })
    const name = texts ? `token ${position} ${quoted(texts[t])}` : `token ${position}`
    return indented(`${name}: ${parametersText(used.active[t])} of ${total}: ${experts.join('; ')}`, width)
  })
  const heading = dense
    ? `parameters of the chosen experts (--dispatch dense ran all ${total} for every token)`
    : 'parameters that ran'
  return [...wrapped(heading, width), ...tokens, ...indented(alwaysText(used), width)]
}

function alwaysText({ always, expert }: ParametersUsed): string {
  const names = Object.keys(PART_NAMES) as (keyof typeof PART_NAMES)[]
  const parts = names.flatMap((name) =>
    always[name] ? `${PART_NAMES[name]} ${parametersText(always[name])}` : [],
  )
  const sizes = [...new Set(expert)].map(parametersText)
  return `always: ${parts.join(', ')}; an expert has ${sizes.join(' or ')}`
}

function indented(text: string, width: number): string[] {
  return wrapped(text, width - 4).map((line, i) => (i === 0 ? line : `    ${line}`))
}
