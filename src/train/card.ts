import { countParameters } from '../cost/index.ts'
import type { EvalReport } from '../eval/types.ts'
import type { ModelConfig } from '../model/config.ts'
import { mean } from '../sums.ts'
import { markdownTable } from '../text/columns.ts'
import { thousands } from '../text/units.ts'
import { evaluationSection } from './card-evaluation.ts'
import { duration, percent } from './card-words.ts'
import { factsText } from './facts.ts'
import { isStep, isValidation, LAST_STEPS, type LogRecord, meanShares, type StepRecord } from './log.ts'
import { type TrainSettings, USUAL } from './settings.ts'
import { summaryOf, titleOf } from './start.ts'
import type { TextSource } from './texts.ts'
import { expertCounts } from './trainer.ts'

export interface CardContext {
  settings: TrainSettings
  config: ModelConfig
  texts: TextSource
  log: LogRecord[]
  /** As in `Training`. */
  devices: string[]
  /** Of the model that the card is about, or null where it was not evaluated. */
  evaluation: EvalReport | null
}

/** README.md of a trained model, every number from its own log and evaluation. */
export function modelCard({ settings, config, texts, log, devices, evaluation }: CardContext): string {
  const { steps, rows, length, seed } = settings
  const { total, active } = countParameters(config)
  const done = log.filter(isStep)
  const tokens = steps * rows * length
  const seconds = done.reduce((sum, { tokensPerSecond }) => sum + (rows * length) / tokensPerSecond, 0)
  return `# ${titleOf(settings)}

A small language model trained by tinymoe itself, in TypeScript: ${summaryOf(settings)}.

- Parameters: ${thousands(total)}${active < total ? `, of which one token uses ${thousands(active)}` : ''}; stored as bfloat16${settings.biasRate === null ? '' : ', the choosing bias as float32'}.
- ${config.layers.length} layers of width ${config.hiddenSize}, ${thousands(config.vocabSize)} tokens (byte-level BPE), ${thousands(config.maxPositionEmbeddings)} positions.
- Data: ${texts.description}. Batches hold ${shares(texts, settings)}.
- Training: ${thousands(steps)} steps of ${rows} x ${length} tokens (${thousands(tokens)} tokens) on ${devices.join(', then ') || 'a device that was not noted'}, ${duration(seconds)}.
- AdamW, peak learning rate ${settings.peakLearningRate}, ${settings.warmup} steps of warm-up, cosine to ${settings.learningRateFloor} of the peak, weight
  decay ${settings.adamw.weightDecay}, gradients clipped at ${settings.clipNorm}.${balancing(settings, config)}
- Made by:

\`\`\`
${trainCommand(settings)}
\`\`\`

## Training's own numbers

${lossTable(log)}${loadLines(done)}
![Curve of the training](curve.svg)

${
  evaluation
    ? `${evaluationSection(evaluation)}
`
    : ''
}## Limits

It knows only texts like those it was trained on, and nothing of the world; it follows no instructions. It was trained on
${length} tokens at a time: what it does with longer texts was not tried. Seed ${seed}; the same command on the same device with
as many threads gives the same model.
`
}

function shares({ domains }: TextSource, { facts }: TrainSettings): string {
  if (domains.length === 1) return 'whole documents'
  return facts
    ? `${percent(facts.share)} facts and the other domains in equal shares`
    : 'all domains in equal shares'
}

/** The command that repeats the training; what the settings would be anyway is left out. */
export function trainCommand(settings: TrainSettings): string {
  const { preset, size, from, executor, steps, seed, corpus, facts, rows, length, peakLearningRate } =
    settings
  const flags = [
    `${preset ? `--preset ${preset}` : `--from ${from}`}${size === USUAL.size ? '' : ` --size ${size}`} --steps ${steps} --seed ${seed}`,
    corpus.length > 0 ? `--corpus ${corpus.join(' ')}` : '',
    facts ? `--facts ${factsText(facts)} --facts-share ${facts.share}` : '',
    rows === USUAL.rows ? '' : `--batch ${rows}`,
    length === USUAL.length ? '' : `--length ${length}`,
    peakLearningRate === USUAL.peakLearningRate ? '' : `--learning-rate ${peakLearningRate}`,
    executor === USUAL.executor ? '' : `--executor ${executor}`,
    from === null ? '' : '--out <dir>',
  ]
  return `npm run train -- ${flags.filter(Boolean).join(' ')}`
}

function balancing(settings: TrainSettings, config: ModelConfig): string {
  if (expertCounts(config).length === 0) return ''
  const { lossWeights, biasRate } = settings
  const how =
    biasRate === null
      ? `a balance loss over the whole batch (${lossWeights.balance})`
      : `a bias on choosing (step ${biasRate}), without a balance loss`
  return `\n- Experts are kept busy by ${how}; z-loss ${lossWeights.z}.`
}

function lossTable(log: LogRecord[]): string {
  const last = log.filter(isStep).slice(-LAST_STEPS)
  const validation = log.filter(isValidation).at(-1)
  const lines = [
    [`training, mean of the last ${last.length} steps`, mean(last.map((r) => r.crossEntropy)).toFixed(3)],
  ]
  if (validation) {
    lines.push(['validation, mean of the domains', validation.validation.toFixed(3)])
    for (const [domain, loss] of Object.entries(validation.byDomain))
      lines.push([`- ${domain}`, loss.toFixed(3)])
  }
  return `${markdownTable([['', 'loss (nats a token)'], ...lines])}\n`
}

function loadLines(steps: StepRecord[]): string {
  if (meanShares(steps).length === 0) return ''
  const rows = meanShares(steps).map((shares, layer) => [
    String(layer + 1),
    ...[Math.min(...shares), Math.max(...shares), 1 / shares.length].map(percent),
  ])
  return `
Shares of the assignments, mean of the last ${Math.min(steps.length, LAST_STEPS)} steps:

${markdownTable([['mixture layer', 'least used expert', 'most used', 'even'], ...rows])}
`
}
