import type { Command } from 'commander'
import { findPublished, nearNames } from '../cost/find-published.ts'
import { publishedShape } from '../cost/published.ts'
import { BREAK_EVEN_ELASTICITY, impliedElasticity, rebound, reboundCurve } from '../cost/rebound.ts'
import { DEEPSEEK_V3, H800_PEAK, leftOut } from '../cost/report.ts'
import { type TrainingRun, trainingCost, trainingFlops } from '../cost/training.ts'
import { InputError, UsageError } from '../errors.ts'
import * as read from '../script/arguments.ts'
import { addFlags, allOptions, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { write } from '../script/output.ts'
import { checkOutputs, writeOutput } from '../script/outputs.ts'
import { type CostReport, costText } from './cost-text.ts'

/** Points of the curve, and how far it goes at least. */
const CURVE_STEPS = 96
const CURVE_MAX = 2

/** Dollars of a GPU hour, TFLOP/s of a GPU, and how many times cheaper or more: far beyond what was or will be. */
const MAX_PRICE = 1e6
const TFLOPS = read.positive(1e6, 'TFLOP/s')
const MAX_FACTOR = 1e6
const ELASTICITY = read.decimal('elasticities from 0 to 10 such as 0.5,1,1.5', (e) => e >= 0 && e <= 10)

const EXAMPLES = `
Defaults are DeepSeek-V3's training as its report gives it. Amounts may end in K, M, B or T. docs/cost.md has every formula
and source.

Examples:
  $ tinymoe cost
  $ tinymoe cost --price 3.5 --peak-tflops 312
  $ tinymoe cost --active 70B --total 70B --tokens 15T --gpu-hours 6.4M
  $ tinymoe cost --cost-factor 10 --elasticity 0.8,1.2 --svg rebound.svg
  $ tinymoe cost --cost-factor 10 --use-factor 30
`

const TRAINING = flags({
  model: ['<name>', 'published model whose parameters and attention to take (default: deepseek-v3)'],
  active: ['<n>', 'parameters a token uses (default: 37B)', read.amount],
  total: ['<n>', 'parameters in all (default: 671B)', read.amount],
  tokens: ['<n>', 'tokens of the pre-training (default: 14.8T)', read.amount],
  gpuHours: ['<n>', 'hours of one GPU that the whole run took (default: 2.788M)', read.amount],
  pretrainingHours: [
    '<n>',
    'those of the pre-training (default: the same share as 2.664M of 2.788M)',
    read.amount,
  ],
  sequence: [
    '<n>',
    'tokens of a training sequence, for the attention',
    read.wholeNumber(1, read.MAX_TOKENS),
    DEEPSEEK_V3.sequence,
  ],
  price: ['<dollars>', 'of one GPU hour', read.positive(MAX_PRICE, 'dollars'), DEEPSEEK_V3.price],
  peakTflops: ['<n>', 'of one GPU, dense bfloat16', TFLOPS, H800_PEAK.bfloat16 / 1e12],
  fp8PeakTflops: ['<n>', 'of one GPU, dense fp8 (default: twice that)', TFLOPS],
})
const REBOUND = flags({
  costFactor: [
    '<f>',
    'cost a token falls to 1/f (default: what sparsity saves of the training)',
    read.from(1, MAX_FACTOR, 'a factor'),
  ],
  elasticity: ['<list>', 'of demand: use grows as price^-e', read.listOf(ELASTICITY), [0.5, 1, 1.5]],
  useFactor: ['<g>', 'use grew g times: which elasticity that is', read.positive(MAX_FACTOR, 'a factor')],
  svg: ['<file>', 'the curve as a picture'],
})
type Flags = GlobalOptions & Given<typeof TRAINING> & Given<typeof REBOUND>

export function register(program: Command): void {
  addFlags(addFlags(program.command('cost'), TRAINING).optionsGroup('Rebound:'), REBOUND)
    .description("The arithmetic of a training run's price, and of the rebound effect.")
    .addHelpText('after', EXAMPLES)
    .action((_: unknown, self: Command) => runCost(allOptions<Flags>(self)))
}

async function runCost(flags: Flags): Promise<void> {
  checkOutputs({ flag: '--svg', path: flags.svg })
  const report = costReport(flags)
  const { curve, rows, costFactor } = report.rebound
  let failure: InputError | null = null
  if (flags.svg !== undefined) {
    const { curvePicture } = await import('../cost/svg.ts') // what draws takes long to load
    failure = writeOutput('--svg', flags.svg, curvePicture(curve, rows, costFactor))
  }
  await write(flags.json ? `${JSON.stringify(report)}\n` : costText(report))
  if (failure) throw failure
}

/** @throws UsageError or InputError for values that do not go together */
function costReport(flags: Flags): CostReport {
  const model = modelOf(flags)
  const run = runOf(flags, model)
  const cost = trainingCost(run)
  const costFactor = flags.costFactor ?? cost.dense.timesFlops
  const { useFactor, elasticity, sequence, price } = flags
  if (useFactor !== undefined && costFactor === 1) {
    throw new UsageError(
      '--use-factor needs a --cost-factor above 1: at the same price it says nothing about elasticity',
    )
  }
  return {
    model: model.name,
    run: { ...run, sequence },
    cost,
    leftOut: model.name === DEEPSEEK_V3.model ? leftOut(price) : [],
    rebound: {
      costFactor,
      breakEvenElasticity: BREAK_EVEN_ELASTICITY,
      rows: elasticity.toSorted((a, b) => a - b).map((e) => rebound(costFactor, e)),
      curve: reboundCurve(costFactor, Math.max(CURVE_MAX, ...elasticity), CURVE_STEPS),
      impliedElasticity: useFactor === undefined ? null : impliedElasticity(costFactor, useFactor),
    },
  }
}

interface Model {
  name: string | null
  active: number
  total: number
  attentionPerToken: number | null
}

/** The published model, or one of which only the parameters are given. */
function modelOf({ model, active, total, sequence, tokens, gpuHours }: Flags): Model {
  const name = model ?? DEEPSEEK_V3.model
  const published = findPublished(name)
  if (!published) {
    throw new InputError(
      `--model ${name}: no published model of that name; near: ${nearNames(name).join(', ')}`,
    )
  }
  if (published.name !== DEEPSEEK_V3.model && (tokens === undefined || gpuHours === undefined)) {
    throw new UsageError(`--model ${name}: give --tokens and --gpu-hours too, the defaults are DeepSeek-V3's`)
  }
  if (model === undefined && (active !== undefined || total !== undefined)) {
    if (active === undefined || total === undefined) {
      throw new UsageError('--active and --total describe a model together: give both')
    }
    return { name: null, active, total, attentionPerToken: null }
  }
  const { attentionScores } = trainingFlops(publishedShape(published), sequence, 'causal')
  const figure = (quantity: 'active' | 'total') => {
    const value = published.published[quantity]
    if (value === null)
      throw new InputError(
        `--model ${name}: its ${quantity} parameters are not published, give --${quantity}`,
      )
    return value
  }
  return {
    name: published.name,
    active: active ?? figure('active'),
    total: total ?? figure('total'),
    attentionPerToken: attentionScores / sequence,
  }
}

function runOf(flags: Flags, { active, total, attentionPerToken }: Model): TrainingRun {
  const { pretraining, contextExtension, postTraining } = DEEPSEEK_V3.hours
  const reported = pretraining + contextExtension + postTraining
  const hours = flags.gpuHours ?? reported
  const pretrainingHours = flags.pretrainingHours ?? (hours * pretraining) / reported
  if (pretrainingHours > hours) {
    throw new UsageError(`--pretraining-hours ${pretrainingHours}: expected at most --gpu-hours ${hours}`)
  }
  if (active > total) throw new UsageError(`--active ${active}: expected at most --total ${total}`)
  const bfloat16 = flags.peakTflops * 1e12
  return {
    active,
    total,
    tokens: flags.tokens ?? DEEPSEEK_V3.tokens,
    hours,
    pretrainingHours,
    price: flags.price,
    peak: { bfloat16, fp8: flags.fp8PeakTflops === undefined ? 2 * bfloat16 : flags.fp8PeakTflops * 1e12 },
    attentionPerToken,
  }
}
