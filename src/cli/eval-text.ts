import type { Domain } from '../corpus/index.ts'
import type { Proportion } from '../eval/proportion.ts'
import type {
  ByDomain,
  CostReport,
  EvalConditions,
  EvalReport,
  ExpertsReport,
  LayerExperts,
  SpeedReport,
  Timing,
} from '../eval/types.ts'
import { table } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { counted, percent, thousands } from '../text/units.ts'
import { factExpertsText, factsText } from './eval-facts-text.ts'

/** The report for people, part by part. */
export function evalText(report: EvalReport): string {
  const { model, split, samples, seed, seconds, notes, experts } = report
  return [
    `Model ${model.name} (${model.family}, ${counted(model.layers, 'layer')}), split ${split}, ${counted(samples, 'sample')}, seed ${seed}\n`,
    lossText(report),
    ...(Object.keys(report.exactMatch).length > 0 ? [answersText(report)] : []),
    ...(Object.keys(report.wellFormed).length > 0
      ? [
          `Texts continued from a first sentence or line in which the verifier finds nothing wrong (form, not sense)\n\n${formsTable(report.wellFormed)}`,
        ]
      : []),
    ...(report.facts ? [factsText(report.facts, report.split)] : []),
    costText(report.cost, report.speed, report.conditions),
    ...(experts ? [expertsText(experts, report.domains)] : []),
    ...(report.factExperts ? [factExpertsText(report.factExperts)] : []),
    [...notes.map((note) => `note: ${note}`), `${seconds.toFixed(0)} s in all`].map((l) => `${l}\n`).join(''),
  ].join('\n')
}

function lossText({ loss, domains }: EvalReport): string {
  const rows = domains.map((domain) => {
    const { documents, tokens, standardError, bitsPerCharacter } = loss.details[domain]!
    return [
      domain,
      loss.byDomain[domain]!.toFixed(4),
      standardError === null ? '-' : standardError.toFixed(4),
      bitsPerCharacter.toFixed(4),
      String(tokens),
      String(documents),
    ]
  })
  return (
    'Loss, nats a token, each document by itself\n\n' +
    table(
      [
        ['domain', 'loss', 'std. error', 'bits/character', 'tokens', 'documents'],
        ...rows,
        ['mean of domains', loss.mean.toFixed(4), '', loss.bitsPerCharacter.toFixed(4), '', ''],
      ],
      [0],
    ) +
    `perplexity ${loss.perplexity.toFixed(3)}\n`
  )
}

function answersText({ exactMatch, headline, split }: EvalReport): string {
  const lines = headline
    ? [
        `2-digit sums, unseen pairs (${split}): with working (${headline.worked.forms.join(', ')}) ${countText(headline.worked)}`,
        `                                      without (${headline.plain.forms.join(', ')}) ${countText(headline.plain)}`,
      ]
    : []
  return `Right answers, greedy, the result alone counted\n\n${formsTable(exactMatch)}${lines.map((l) => `${l}\n`).join('')}`
}

function formsTable(results: ByDomain<Record<string, Proportion>>): string {
  const rows = Object.entries(results).flatMap(([domain, forms]) =>
    Object.entries(forms).map(([form, { correct, total, low, high }]) => [
      domain,
      form,
      total === 0 ? '-' : percent(correct / total),
      `${correct}/${total}`,
      `${percent(low)} .. ${percent(high)}`,
    ]),
  )
  return table([['domain', 'form', 'right', 'of', '95 % interval'], ...rows], [0, 1])
}

function countText({ correct, total, low, high }: Proportion): string {
  if (total === 0) return 'none asked'
  return `${percent(correct / total)} (${correct}/${total}, 95 % interval ${percent(low)} .. ${percent(high)})`
}

function costText(cost: CostReport, { prefill, decode }: SpeedReport, conditions: EvalConditions): string {
  const { parameters } = cost
  const { runtime, executor, dtype, loadAverage } = conditions
  return [
    'Cost and speed',
    '',
    `parameters: ${thousands(parameters.total)}, active a token ${thousands(parameters.active)} ` +
      `(without embeddings ${thousands(parameters.totalWithoutEmbeddings)} and ${thousands(parameters.activeWithoutEmbeddings)})`,
    `matrix FLOPs a token: ${thousands(cost.flopsPerToken)} at ${cost.flopContext} keys; weights read for one token ${thousands(cost.weightBytesPerToken)} bytes`,
    `prefill: ${timingText(prefill)}`,
    `decode:  ${timingText(decode)}`,
    `on ${runtime.device}, ${runtime.deviceName ?? 'unknown'}; backend ${runtime.backend}, ${runtime.threads} threads; ` +
      `TensorFlow ${runtime.tensorflowVersion ?? 'not used'}, tfjs ${runtime.tfjsVersion}, Node ${runtime.nodeVersion}`,
    `${dtype}, executor ${executor}, load average before ${loadAverage ?? 'unknown'}`,
    '',
  ].join('\n')
}

function timingText({ tokens, context, n, medianMs, p10Ms, p90Ms, tokensPerSecond }: Timing): string {
  const call = counted(tokens, 'token') + (tokens === 1 ? `, ${context} keys in sight` : '')
  return (
    `${tokensPerSecond.toFixed(0)} tokens/s (${call}: median ${medianMs.toFixed(2)} ms, ` +
    `p10 ${p10Ms.toFixed(2)}, p90 ${p90Ms.toFixed(2)}, n ${n})`
  )
}

function expertsText(experts: ExpertsReport, domains: Domain[]): string {
  const tokens = Object.values(experts.tokens).reduce((a, b) => a + b, 0)
  const dead = experts.layers
    .filter(({ load }) => load.dead.length > 0)
    .map(({ layer, load }) => `layer ${layer}: ${load.dead.join(', ')}`)
  return [
    `Experts: ${counted(tokens, 'token')} routed, about the same number of each domain\n`,
    table([LAYER_HEADING, ...experts.layers.map(layerRow)]),
    'information: between domain and expert, jackknife over documents; share: of the entropy of domain',
    `dead experts (less than ${percent(experts.deadShare)} of their layer's assignments): ${dead.join('; ') || 'none'}`,
    ...experts.layers.flatMap((layer) => ['', ...layerText(layer, domains)]),
    '',
  ].join('\n')
}

const LAYER_HEADING = [
  'layer',
  'E',
  'K',
  'information bits',
  'std. error',
  'uncorrected',
  'share',
  'least used',
  'most used',
  'MaxVio',
  'balance loss',
]

function layerRow({ layer, numExperts, topK, mutualInformation, load }: LayerExperts): string[] {
  const use = ({ expert, share }: { expert: number; share: number }) => `${percent(share)} (${expert})`
  const information = mutualInformation
    ? [
        mutualInformation.bits.toFixed(4),
        mutualInformation.standardError.toFixed(4),
        mutualInformation.plugInBits.toFixed(4),
        percent(mutualInformation.normalised),
      ]
    : ['-', '-', '-', '-']
  return [
    ...[layer, numExperts, topK].map(String),
    ...information,
    use(load.least),
    use(load.most),
    load.maxViolation.toFixed(3),
    load.loadBalanceLoss.toFixed(3),
  ]
}

/** Two tables of a layer, a row an expert: what it gets, and what is lost without it. */
function layerText(layer: LayerExperts, domains: Domain[]): string[] {
  const { load, tokenShare, typicalTokens, disabled, baseline } = layer
  const usage = load.shares.map((share, e) => [
    String(e) + (load.dead.includes(e) ? ' dead' : ''),
    percent(share),
    ...domains.map((domain) => percent(tokenShare[domain]![e])),
    typicalTokens[e].map(({ text }) => quoted(text)).join(' ') || '-',
  ])
  const lines = [
    `Layer ${layer.layer}: share of assignments; share of each domain's tokens (no preference: ${percent(baseline)}); tokens most above chance`,
    table([['expert', 'load', ...domains, 'tokens'], ...usage], [0, domains.length + 2]),
  ]
  if (!disabled) return [...lines, 'Too few experts to disable one.']
  const losses = disabled.map(({ expert, mean, byDomain }) => [
    String(expert),
    signed(mean),
    ...domains.map((domain) => signed(byDomain[domain]!)),
  ])
  return [
    ...lines,
    `Layer ${layer.layer}: loss with the expert disabled less the intact loss, nats a token`,
    table([['expert', 'mean', ...domains], ...losses], [0]).trimEnd(),
  ]
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(4)}`
}
