import { join } from 'node:path'
import type { Command } from 'commander'
import { openCheckpoint } from '../checkpoint/disk.ts'
import { configOfWeights } from '../checkpoint/load.ts'
import { quantizeCheckpoint } from '../checkpoint/quantize.ts'
import { QUANTIZE_DEFAULTS } from '../checkpoint/widths.ts'
import { ConfigError, InputError } from '../errors.ts'
import { compareQuantized, QUANTIZED_SAMPLES, type QuantizedReport } from '../eval/quantized.ts'
import { readJson } from '../files.ts'
import { readConfig } from '../load-model.ts'
import { MODEL_PARTS } from '../model/tensor-spec.ts'
import { modelDirectory } from '../package.ts'
import * as read from '../script/arguments.ts'
import type { Given, GlobalOptions } from '../script/flags.ts'
import { addFlags, allOptions, flags, MODEL_ARGUMENT, REQUIRED } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'
import { table } from '../text/columns.ts'
import { percent, si } from '../text/units.ts'
import { withModel } from './loading.ts'

const EXAMPLES = `
Matrices become whole numbers of 8 or 4 bits, in groups along their inputs that share a scale; the unembedding has 8. Routers and norms
stay as they are. The directory is one of compressed-tensors, which transformers and vLLM read too (docs/quantize.md).

Examples:
  $ tinymoe quantize moe --bits 8 --out moe-8bit
  $ tinymoe quantize moe --bits 4 --group 32 --keep embedding,attention --out moe-4bit --json
`

const FLAGS = flags({
  bits: ['<n>', 'of a number', ['8', '4'], REQUIRED],
  group: ['<n>', 'numbers that share a scale', ['32', '128'], String(QUANTIZE_DEFAULTS.group)],
  keep: ['<parts>', 'parts that stay as they are', read.namesOf(MODEL_PARTS), QUANTIZE_DEFAULTS.keep],
  samples: [
    '<n>',
    'documents of each domain that both models read; 0: none',
    read.wholeNumber(0, 10_000),
    QUANTIZED_SAMPLES,
  ],
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
  const { json, out, samples } = flags
  checkOutputs({ flag: '--out', path: out, kind: 'folder' })
  const settings = { bits: Number(flags.bits) as 8 | 4, group: Number(flags.group), keep: flags.keep }
  await interruptible('the model may be incomplete', async (signal) => {
    const dir = modelDirectory(model)
    const { config: published, family, quantisation } = readConfig(model)
    if (quantisation) throw new InputError(`${dir}: is quantised already, expected a model that is not`)
    const checkpoint = openCheckpoint(dir, (name) => family.ignored(name, published))
    const errors = await withProgress('quantize', async (onProgress) => {
      try {
        const { config } = configOfWeights(checkpoint, published, family)
        const json = readJson(join(dir, 'config.json'), ConfigError) as Record<string, unknown>
        return quantizeCheckpoint({ checkpoint, config, family, json }, out, settings, (share) =>
          onProgress(share, 'matrices'),
        )
      } finally {
        checkpoint.close()
      }
    })
    const bytes = { before: weightBytes(dir), after: weightBytes(out) }
    const report = samples > 0 ? await compared(dir, out, errors, flags, signal) : null
    const result = { out, ...settings, bytes, report, matrices: errors }
    await write(json ? `${JSON.stringify(result)}\n` : shownResult(result))
  })
}

function compared(
  dir: string,
  out: string,
  errors: Parameters<typeof compareQuantized>[2],
  { device, debug, samples }: Flags & GlobalOptions,
  signal: AbortSignal,
): Promise<QuantizedReport> {
  return withModel(dir, { device, debug }, (original) =>
    withModel(out, { device, debug }, (quantized) =>
      withProgress('quantize', (onProgress) =>
        compareQuantized(original, quantized, errors, samples, {
          signal,
          onShare: (share) => onProgress(share, 'held-out texts'),
        }),
      ),
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
  const { loss, agreement, layers } = report
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
    `the same next token after ${percent(agreement.share)} of ${agreement.tokens} tokens\n\n`,
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
