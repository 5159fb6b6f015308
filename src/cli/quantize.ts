import type { Command } from 'commander'
import { calibrationBytes } from '../checkpoint/calibrate.ts'
import { openCheckpoint } from '../checkpoint/disk.ts'
import { type MatrixError, quantizeModel } from '../checkpoint/quantize.ts'
import { QUANTIZE_DEFAULTS } from '../checkpoint/widths.ts'
import { ALL_DOMAINS, DOMAINS } from '../corpus/index.ts'
import { startRuntime } from '../device/index.ts'
import { memoryLimit, memoryProblem } from '../device/memory.ts'
import { InputError, UsageError } from '../errors.ts'
import { documentsOf, TextCodec } from '../eval/documents.ts'
import type { FactsKnown } from '../eval/facts.ts'
import { shareOf } from '../eval/proportion.ts'
import {
  compareQuantized,
  type FactsChanged,
  QUANTIZED_SAMPLES,
  type QuantizedReport,
} from '../eval/quantized.ts'
import { readConfig } from '../load-model.ts'
import { MODEL_PARTS } from '../model/tensor-spec.ts'
import { modelDirectory } from '../package.ts'
import * as read from '../script/arguments.ts'
import { factsFlag } from '../script/facts-size.ts'
import type { Given, GlobalOptions } from '../script/flags.ts'
import { addFlags, allOptions, flags, MODEL_ARGUMENT, REQUIRED } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'
import { sum } from '../sums.ts'
import { table } from '../text/columns.ts'
import { percent, si, thousands } from '../text/units.ts'
import { loadTokenizer } from '../tokenizer/load.ts'
import { writingModel } from './export.ts'
import { withModel } from './loading.ts'

const EXAMPLES = `
Matrices become whole numbers of 8 or 4 bits, in groups along their inputs that share a scale; the unembedding has 8. Routers and norms
stay as they are. The directory is one of compressed-tensors, which transformers reads too (docs/quantize.md). With --calibrate numbers
are rounded by what training texts of this project's corpus give to each matrix: that takes longer, and the next token is more often the
same (docs/quantize.md has what it gains and what not).

Examples:
  $ tinymoe quantize moe --bits 8 --out moe-8bit
  $ tinymoe quantize moe --bits 4 --calibrate 10 --out moe-4bit
  $ tinymoe quantize moe-facts --bits 4 --facts --out moe-facts-4bit
  $ tinymoe quantize moe --bits 4 --group 32 --keep embedding,attention --out moe-4bit --json
`

const FLAGS = flags({
  bits: ['<n>', 'of a number', ['8', '4'], REQUIRED],
  group: ['<n>', 'numbers that share a scale', ['32', '128'], String(QUANTIZE_DEFAULTS.group)],
  keep: ['<parts>', 'parts that stay as they are', read.namesOf(MODEL_PARTS), QUANTIZE_DEFAULTS.keep],
  calibrate: [
    '<n>',
    'training texts of each domain that decide how numbers are rounded; 0: none, each group looks for its scale',
    read.wholeNumber(0, 10_000),
    0,
  ],
  samples: [
    '<n>',
    'documents of each domain that both models read; 0: none',
    read.wholeNumber(0, 10_000),
    QUANTIZED_SAMPLES,
  ],
  facts: factsFlag(
    'also which facts it knows, of so many entities, as it was trained on, before and after; with --calibrate texts of them too',
  ),
  out: ['<dir>', 'folder for the model', undefined, REQUIRED],
})
type Flags = Given<typeof FLAGS>

export function register(program: Command): void {
  addFlags(program.command('quantize'), FLAGS)
    .description('Writes a model in 8 or 4 bits, and says what that changed.')
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action((dir: string, _: unknown, command: Command) => runQuantize(dir, allOptions<Flags>(command)))
}

async function runQuantize(model: string, flags: Flags & GlobalOptions): Promise<void> {
  const { json, out, samples, group, keep, calibrate } = flags
  if (flags.facts && samples === 0 && calibrate === 0)
    throw new UsageError('--facts needs --samples of at least 1, or --calibrate')
  const dir = modelDirectory(model)
  const made = checkOutputs({ flag: '--out', path: out, kind: 'folder' })
  const settings = { bits: Number(flags.bits) as 8 | 4, group: Number(group), keep }
  const written = await writingModel(made, async (hooks) =>
    quantizeModel(dir, out, { ...settings, texts: await calibrationTexts(dir, flags) }, hooks),
  )
  if (written === null) return
  for (const text of written.remarks) remark(text)
  const bytes = { before: weightBytes(dir), after: weightBytes(out) }
  await interruptible('the model is written, what that changed of it is not known', async (signal) => {
    const report = samples > 0 ? await compared(dir, out, written.errors, flags, signal) : null
    const result = { out, ...settings, calibrate, bytes, report, matrices: written.errors }
    await write(json ? `${JSON.stringify(result)}\n` : shownResult(result))
  })
}

/** Token ids of texts of the training split, for which the device is started; none unless they are asked for. */
async function calibrationTexts(
  dir: string,
  { calibrate, facts, device, debug }: Flags & GlobalOptions,
): Promise<number[][]> {
  if (calibrate === 0) return []
  const { config } = readConfig(dir)
  const codec = new TextCodec(dir, config, await loadTokenizer(dir))
  const domains = facts ? ALL_DOMAINS : DOMAINS
  const documents = await documentsOf(codec, domains, { split: 'train', seed: 1, facts }, calibrate)
  const bytes = calibrationBytes(config, sum(documents.map(({ tokens }) => tokens.length)))
  const problem = memoryProblem(bytes, memoryLimit({ device: 'cpu', memoryBytes: null })) // states are here also with a card
  if (problem !== null) throw new InputError(`--calibrate ${calibrate}: ${problem}`)
  await startRuntime({ device, debug })
  return documents.map(({ tokens }) => tokens)
}

function compared(
  dir: string,
  out: string,
  errors: MatrixError[],
  { device, debug, samples, facts }: Flags & GlobalOptions,
  signal: AbortSignal,
): Promise<QuantizedReport> {
  return withModel(dir, { device, debug }, (original) =>
    withModel(out, { device, debug }, (quantized) =>
      withProgress('quantize', (onProgress) => {
        const onShare = (share: number) => onProgress(share, 'held-out texts')
        return compareQuantized(original, quantized, errors, { samples, facts }, { signal, onShare })
      }),
    ),
  )
}

function weightBytes(dir: string): number {
  const checkpoint = openCheckpoint(dir)
  checkpoint.close()
  return checkpoint.totalBytes
}

function shownResult({
  out,
  bits,
  group,
  bytes,
  report,
}: {
  out: string
  bits: number
  group: number
  bytes: { before: number; after: number }
  report: QuantizedReport | null
}): string {
  const head = `${out}: ${bits} bits in groups of ${group}, ${si(bytes.before, 'B')} -> ${si(bytes.after, 'B')}\n`
  if (!report) return head
  const { loss, agreement, facts, layers } = report
  const nats = (value: number) => value.toFixed(4)
  const error = (value: number | null) => (value === null ? '' : percent(value))
  const rows = layers.map((layer) => [
    String(layer.layer),
    error(layer.others),
    error(layer.busy),
    error(layer.rare),
    layer.experts.map((expert) => `${percent(expert.error)} (${percent(expert.share)})`).join('  '),
  ])
  return [
    head,
    `loss ${nats(loss.before)} -> ${nats(loss.after)} (${nats(loss.after - loss.before)}) nats a token of held-out texts\n`,
    `the same next token after ${percent(agreement.share)} of ${agreement.tokens} tokens\n`,
    facts ? factsLine(facts) : '',
    '\n',
    table(
      [
        ['layer', 'outside experts', 'busy experts', 'rare experts', 'each expert (its share of tokens)'],
        ...rows,
      ],
      [4],
    ),
    'errors: root mean square, of the numbers of the matrices\n',
  ].join('')
}

function factsLine({ before, after, lost, gained }: FactsChanged): string {
  const known = ({ right }: FactsKnown) => `${thousands(right.correct)} (${percent(shareOf(right))})`
  return `facts known ${known(before)} -> ${known(after)} of ${thousands(before.right.total)}: ${thousands(lost.length)} lost, ${thousands(gained.length)} gained\n`
}
