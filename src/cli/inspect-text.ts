import type { Inspection, Intensity, PublishedFacts } from '../cost/inspection.ts'
import type { ParameterParts } from '../cost/parameters.ts'
import { type Bar, barLines, multiple } from '../cost/picture.ts'
import { CONVENTIONS, type Comparison, type PublishedModel } from '../cost/published.ts'
import { mean } from '../sums.ts'
import { table } from '../text/columns.ts'
import { counted, fourDigits, parametersText, percent, si, signedPercent } from '../text/units.ts'
import type { WeightsAnswer } from '../trace/analyse.ts'

/** Everything that is shown of one model. */
export interface Inspected extends Inspection {
  name: string
  published: PublishedFacts | null
  /** Distinct experts that a text really touched, by batch size; null without --measure. */
  measured: { tokens: number; answers: WeightsAnswer[] } | null
}

/** Columns of the longest bar. */
const BAR_WIDTH = 48

const PARTS: [part: keyof ParameterParts, name: string][] = [
  ['embedding', 'input table'],
  ['attention', 'attention'],
  ['router', 'router'],
  ['experts', 'experts'],
  ['sharedExperts', 'shared experts'],
  ['dense', 'dense feed-forwards'],
  ['norms', 'norms'],
  ['unembedding', 'unembedding'],
]

const FLOP_PARTS = [
  ['attentionProjections', 'attention, projections'],
  ['attentionScores', 'attention, scores and mix'],
  ['router', 'router'],
  ['experts', 'experts, dense feed-forwards'],
  ['sharedExperts', 'shared experts'],
  ['unembedding', 'unembedding'],
  ['total', 'all'],
] as const

/** Everything about one model. */
export function inspectionText(model: Inspected): string {
  return [
    `${model.name}\n\n${barText([model])}`,
    parametersTable(model),
    ...(model.published ? [publishedText(model.published)] : []),
    flopsTable(model),
    bytesTable(model),
    intensityTable(model),
    ...expertsTable(model),
  ].join('\n')
}

export function barOf({ name, parameters: { total, active } }: Inspected): Bar {
  return { name, total, active, totalText: parametersText(total), activeText: parametersText(active) }
}

function barText(models: Inspected[]): string {
  return barLines(models.map(barOf), BAR_WIDTH)
    .map((line) => `${line}\n`)
    .join('')
}

function parametersTable({ parameters }: Inspected): string {
  const { parts, activeParts, total, active, byConvention } = parameters
  const row = (name: string, total: number, active: number) => [
    name,
    parametersText(total),
    parametersText(active),
    percent(active / total),
  ]
  const rows = PARTS.filter(([part]) => parts[part] > 0).map(([part, name]) =>
    row(name, parts[part], activeParts[part]),
  )
  const ways = CONVENTIONS.map((way) => row(way, byConvention[way].total, byConvention[way].active))
  return (
    table([['parameters', 'total', 'active', 'share'], ...rows, ['', '', '', ''], ...ways], [0]) +
    `A token uses ${parametersText(active)} of ${parametersText(total)}. Owners count active parameters in these three ways` +
    (parts.unembedding === 0 ? '; here the input table is the unembedding too.\n' : '.\n')
  )
}

function publishedText({ comparisons, training, source, configSource, notes }: PublishedFacts): string {
  return [
    table([COMPARISON_HEADING, ...comparisons.map(comparisonRow)], [0, 4, 5]),
    ...(training
      ? [
          `Training FLOPs of ${training.perTokens} tokens: published ${si(training.published, 'FLOP')}, ` +
            `by nominal shapes ${si(training.nominal, 'FLOP')} (${signedPercent(training.nominal / training.published - 1)}), ` +
            `by the matrices ${si(training.matrices, 'FLOP')} (${signedPercent(training.matrices / training.published - 1)}).\n`,
        ]
      : []),
    ...comparisons.flatMap(({ agreement, quantity, why }) =>
      agreement === 'explained' ? [`${quantity}: ${why}\n`] : [],
    ),
    ...(notes ? [`${notes}\n`] : []),
    `published: ${source}\nconfig: ${configSource}\n`,
  ].join('')
}

const COMPARISON_HEADING = ['published', 'printed', 'counted', 'difference', 'counted how', 'agreement']

function comparisonRow({
  quantity,
  printed,
  counted,
  difference,
  convention,
  agreement,
}: Comparison): string[] {
  return [quantity, printed, parametersText(counted), signedPercent(difference), convention, agreement]
}

/** Parts that cost nothing in any column are left out; so is the column of every expert where there is none. */
function flopsTable({ flopsPerToken, parameters, distinctExperts }: Inspected): string {
  const { context, prefill, decode, decodeEveryExpert, training } = flopsPerToken
  const sparse = distinctExperts.length > 0
  const columns = [prefill, decode, ...(sparse ? [decodeEveryExpert] : []), training]
  const rows = FLOP_PARTS.filter(([part]) => decodeEveryExpert[part] > 0).map(([part, name]) => [
    name,
    ...columns.map((flops) => si(flops[part], 'FLOP')),
    percent(decode[part] / decode.total),
  ])
  const heading = ['prefill', 'decode', ...(sparse ? ['decode, all experts'] : []), 'training']
  return (
    table([['FLOPs a token', ...heading, 'share of decode'], ...rows], [0]) +
    `Prefill: mean over a prompt of ${counted(context, 'token')}, each meeting those before it; logits of the last only.\n` +
    `Decode: the token after ${context - 1} others. ` +
    `Twice the active parameters is ${si(2 * parameters.active, 'FLOP')}` +
    (sparse
      ? `; a decoded token costs ${percent(decode.total / decodeEveryExpert.total)} of what it would with every expert.\n`
      : '.\n')
  )
}

function bytesTable({ bytesPerToken, bytes }: Inspected): string {
  const { context, dtype, cacheDtype, weights, cacheRead, cacheWritten, plainCacheWritten, total } =
    bytesPerToken
  const rows = [
    ['weights read', si(weights, 'B')],
    ['keys and values read', si(cacheRead, 'B')],
    ['keys and values written', si(cacheWritten, 'B')],
    ...(plainCacheWritten === cacheWritten ? [] : [['by plain attention', si(plainCacheWritten, 'B')]]),
    ['all', si(total, 'B')],
  ]
  return (
    table([['bytes a decoded token', `context ${context}`], ...rows], [0]) +
    `Weights in ${dtype} (${si(bytes.allWeights, 'B')} in all), keys and values in ${cacheDtype} ` +
    `(${si(bytes.cachePerSequence, 'B')} a sequence of ${context}).\n`
  )
}

function intensityTable({ intensity, bytesPerToken: { context } }: Inspected): string {
  const row = (name: string, { flops, weightBytes, cacheBytes, flopsPerByte }: Intensity) => [
    name,
    si(flops, 'FLOP'),
    si(weightBytes, 'B'),
    si(cacheBytes, 'B'),
    fourDigits(flopsPerByte),
  ]
  const rows = intensity.decode.map((decode) => row(`decode, ${counted(decode.batch, 'sequence')}`, decode))
  return (
    table(
      [
        ['arithmetic intensity', 'FLOPs', 'weights', 'keys and values', 'FLOP/byte'],
        row(`prefill, ${counted(context, 'token')}`, intensity.prefill),
        ...rows,
      ],
      [0],
    ) +
    'A step of each sequence together; the weights are those of the experts expected below. A device is kept waiting by its memory\n' +
    'below its own FLOP/byte (H100 SXM, bfloat16: 989.5 TFLOP/s by 3.35 TB/s is 295).\n'
  )
}

function expertsTable({ distinctExperts, measured }: Inspected): string[] {
  if (distinctExperts.length === 0) return []
  const rows = distinctExperts.map(({ tokens, layers, numExperts, topK, expected }) => [
    String(tokens),
    `${layers} of E=${numExperts} K=${topK}`,
    expected.toFixed(2),
    percent(expected / numExperts),
  ])
  const expected =
    table([['tokens together', 'layers', 'distinct experts', 'share'], ...rows], [1]) +
    'Expected if every choice of K were equally likely: E(1-(1-K/E)^T).\n'
  return measured ? [expected, measuredTable(measured)] : [expected]
}

function measuredTable({ tokens, answers }: NonNullable<Inspected['measured']>): string {
  const rows = answers.map((answer) => [
    String(answer.tokens),
    mean(answer.expertsTouched).toFixed(2),
    mean(answer.expertsExpected).toFixed(2),
    signedPercent(mean(answer.expertsTouched) / mean(answer.expertsExpected) - 1),
  ])
  return (
    table([['tokens together', 'measured', 'expected', 'difference'], ...rows]) +
    `Mean over the mixture layers and the batches of consecutive tokens of a text of ${counted(tokens, 'token')}.\n`
  )
}

/** Models side by side; with two, how many times the first is the second. */
export function comparisonText(models: Inspected[]): string {
  const two = models.length === 2
  const rows = COMPARED.map(([name, value, text]) => {
    const values = models.map(value)
    return [name(models[0]), ...values.map(text), ...(two ? [multiple(values[0] / values[1])] : [])]
  })
  const heading = ['', ...models.map(({ name }) => name), ...(two ? ['first by second'] : [])]
  return `${barText(models)}\n${table([heading, ...rows], [0])}`
}

type Compared = [
  name: (first: Inspected) => string,
  value: (model: Inspected) => number,
  text: (value: number) => string,
]

const flop = (value: number) => si(value, 'FLOP')
const byte = (value: number) => si(value, 'B')

const COMPARED: Compared[] = [
  [() => 'parameters', (m) => m.parameters.total, parametersText],
  [() => 'active', (m) => m.parameters.active, parametersText],
  [() => 'active share', (m) => m.parameters.active / m.parameters.total, percent],
  [() => 'without embeddings', (m) => m.parameters.totalWithoutEmbeddings, parametersText],
  [() => 'active without embeddings', (m) => m.parameters.activeWithoutEmbeddings, parametersText],
  [
    (m) => `prefill FLOPs a token, ${counted(m.flopsPerToken.context, 'token')}`,
    (m) => m.flopsPerToken.prefill.total,
    flop,
  ],
  [
    (m) => `decode FLOPs a token, context ${m.flopsPerToken.context}`,
    (m) => m.flopsPerToken.decode.total,
    flop,
  ],
  [() => 'training FLOPs a token', (m) => m.flopsPerToken.training.total, flop],
  [() => 'bytes of all weights', (m) => m.bytes.allWeights, byte],
  [() => 'weights read a decoded token', (m) => m.bytesPerToken.weights, byte],
  [() => 'keys and values a sequence', (m) => m.bytes.cachePerSequence, byte],
  [() => 'FLOP/byte, decode, 1 sequence', (m) => m.intensity.decode[0].flopsPerByte, fourDigits], // of the smallest batch
]

/** Every published model, and what does not agree below. */
export function listText(models: (PublishedModel & { comparisons: Comparison[] })[]): string {
  const rows = models.flatMap(({ name, comparisons }) =>
    comparisons.map((comparison, i) => [i === 0 ? name : '', ...comparisonRow(comparison)]),
  )
  const whys = models.flatMap(({ name, comparisons }) =>
    comparisons.flatMap(({ agreement, quantity, why }) =>
      agreement === 'explained' ? [`${name}, ${quantity}: ${why}\n`] : [],
    ),
  )
  return `${table([['model', ...COMPARISON_HEADING], ...rows], [0, 1, 5, 6])}\n${whys.join('')}`
}
