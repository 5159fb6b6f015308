import type { RoutingTrace } from '../model/trace.ts'
import type { MoeModel } from '../model/transformer.ts'
import { mean } from '../sums.ts'
import { table } from '../text/columns.ts'
import { counted, percent, si } from '../text/units.ts'
import {
  type AnalyseOptions,
  type Analysis,
  analyse,
  type CacheAnswer,
  type CapacityAnswer,
  type WeightsAnswer,
} from '../trace/analyse.ts'
import { representative, type TopKAnswer } from '../trace/analyse-top-k.ts'

/** `tinymoe trace --analyse`: the answers, for `--json`, and their text. */
export async function analyseCommand(
  model: Pick<MoeModel, 'config' | 'forward'>,
  trace: RoutingTrace,
  options: AnalyseOptions = {},
): Promise<{ result: Analysis; text: string }> {
  const result = await analyse(model, trace, options)
  return { result, text: analysisText(result, trace) }
}

/** Four tables, each with a sentence that says what its numbers mean. */
function analysisText({ capacity, caches, topK, weights }: Analysis, trace: RoutingTrace): string {
  const batches = [...new Set(capacity.map(({ batch }) => batch))]
  return [
    ...batches.map((batch) =>
      capacityText(
        capacity.filter((answer) => answer.batch === batch),
        trace,
      ),
    ),
    cacheText(caches, trace),
    topKText(topK, trace),
    weightsText(weights, trace),
  ].join('\n')
}

function capacityText(answers: CapacityAnswer[], { layers, rows }: RoutingTrace): string {
  const [{ batch }] = answers
  const body = answers.map(({ factor, seats, dropped, droppedByLayer }) => {
    const worst = Math.max(...droppedByLayer)
    const where = worst > 0 ? ` (layer ${layers[droppedByLayer.indexOf(worst)].layer})` : ''
    return [factor.toFixed(2), span(seats), percent(dropped), percent(worst) + where]
  })
  const balanced = answers.find(({ factor }) => factor === 1)!
  const lossless = answers.find(({ dropped }) => dropped === 0)
  return (
    `Capacity: assignments dropped when ${counted(batch, 'token')} of ${rows.length} share the seats (E=${span(layers.map((l) => l.numExperts))}, K=${span(layers.map((l) => l.topK))})\n` +
    table([['factor', 'seats an expert', 'dropped', 'worst layer'], ...body], [3]) +
    `With just enough seats for balanced routing (factor 1), ${percent(balanced.dropped)} of the assignments find none; ` +
    (lossless
      ? `of these factors, ${lossless.factor} is the first that loses nothing.\n`
      : 'none of these factors seats them all.\n')
  )
}

function cacheText({ sizes, layers }: CacheAnswer, trace: RoutingTrace): string {
  const shown = representative(sizes.length).map((size) => sizes[size - 1])
  const body = shown.map(({ size, hitRate, bytesPerToken }) => [
    String(size),
    ...[hitRate.lru, hitRate.lfu, hitRate.optimal, hitRate.static].map(percent),
    ...[bytesPerToken.lru, bytesPerToken.optimal].map((bytes) => si(bytes, 'B')),
  ])
  const half = sizes[Math.ceil(sizes.length / 2) - 1]
  const firstUses = layers.reduce((total, { distinct }) => total + distinct, 0)
  return (
    `Expert cache: requests found in fast memory when each layer keeps so many experts, ${counted(trace.rows.length, 'token')} one at a time\n` +
    table([['kept', 'LRU', 'LFU', 'optimal', 'static', 'LRU loads/token', 'optimal loads/token'], ...body]) +
    `Keeping ${half.size} of ${sizes.length}, LRU finds ${percent(half.hitRate.lru)} of the experts asked for and loads ` +
    `${si(half.bytesPerToken.lru, 'B')} a token; ${firstUses} first uses are misses in any of them but static, which is filled ` +
    'beforehand with the most used experts of this same run.\n'
  )
}

function topKText(answers: TopKAnswer[], { layers }: RoutingTrace): string {
  const recorded = layers[0].topK
  const body = answers.map((answer) => [
    answer.topK === recorded ? `${answer.topK} (trace)` : String(answer.topK),
    answer.jaccardLater === null ? '-' : answer.jaccardLater.toFixed(3),
    answer.jaccardAtMost.toFixed(3),
    percent(answer.sameTopToken),
    answer.klMean.toFixed(4),
    answer.klMax.toFixed(4),
    answer.logitChange.toFixed(3),
  ])
  const fewer = answers.findLast(({ topK }) => topK < recorded)
  const heading = ['K', 'same experts', 'at most', 'same top token', 'KL nats', 'KL largest', 'logit change']
  return (
    'Another K: the same tokens again, compared with the trace\n' +
    table([heading, ...body], [0]) +
    (fewer
      ? `With K=${fewer.topK} for ${recorded}, the most likely next token stays the same at ${percent(fewer.sameTopToken)} of the positions, and ` +
        `the next-token distribution moves by ${fewer.klMean.toFixed(4)} nats on average. `
      : '') +
    '"same experts" is the mean Jaccard index of the sets chosen in the layers after the first; "at most" is what nested sets would give.\n'
  )
}

function weightsText(answers: WeightsAnswer[], { layers }: RoutingTrace): string {
  const body = answers.map((answer) => [
    String(answer.tokens),
    mean(answer.expertsTouched).toFixed(2),
    mean(answer.expertsExpected).toFixed(2),
    si(answer.bytesPerToken, 'B'),
    si(answer.denseBytesPerToken, 'B'),
    percent(answer.bytesPerToken / answer.denseBytesPerToken),
  ])
  const [one, last] = [answers[0], answers[answers.length - 1]]
  const heading = ['tokens at once', 'experts touched', 'if uniform', 'bytes/token', 'dense', 'share']
  return (
    `Weights read: experts touched of E=${span(layers.map((l) => l.numExperts))} a layer (mean), and bytes a token\n` +
    table([heading, ...body]) +
    `One token alone reads ${percent(one.bytesPerToken / one.denseBytesPerToken)} of what it would with every expert; ` +
    `${counted(last.tokens, 'token')} together read ${percent(last.bytesPerToken / last.denseBytesPerToken)}, because between them they touch ` +
    `${mean(last.expertsTouched).toFixed(2)} experts a layer. "if uniform" is E(1-(1-K/E)^T): every choice equally likely, tokens independent.\n`
  )
}

/** One number where all are the same, else smallest to largest. */
function span(values: number[]): string {
  const [min, max] = [Math.min(...values), Math.max(...values)]
  return min === max ? String(min) : `${min} to ${max}`
}
