/**
 * What ways to round cost in held-out loss, as docs/quantize.md has it:
 * `npx tsx bench/roundings.ts models/moe models/dense-active models/dense-total`.
 */
import { Command } from 'commander'
import type { Groups } from '../src/backend/holding.ts'
import { calibrate } from '../src/checkpoint/calibrate.ts'
import { openCheckpoint } from '../src/checkpoint/disk.ts'
import { inGroupsFor } from '../src/checkpoint/gptq.ts'
import { groupedValues, inGroups } from '../src/checkpoint/groups.ts'
import { weightSource } from '../src/checkpoint/load.ts'
import { eachStored, packWeights } from '../src/checkpoint/pack.ts'
import { dequantised } from '../src/checkpoint/quantised.ts'
import { type StoredValues, storedFrom } from '../src/checkpoint/save.ts'
import { quantizedAs } from '../src/checkpoint/widths.ts'
import { DOMAINS } from '../src/corpus/index.ts'
import { startRuntime } from '../src/device/index.ts'
import { type Document, documentsOf, TextCodec } from '../src/eval/documents.ts'
import { lossReport, predictions } from '../src/eval/loss.ts'
import { readConfig } from '../src/load-model.ts'
import type { ModelConfig } from '../src/model/config.ts'
import { MoeModel } from '../src/model/transformer.ts'
import { weightTable } from '../src/model/weight-table.ts'
import { listOf, namesOf, seed, wholeNumber } from '../src/script/arguments.ts'
import { addFlags, flags, type Given } from '../src/script/flags.ts'
import { remark, write } from '../src/script/output.ts'
import { runScript } from '../src/script/run.ts'
import { mean, sum } from '../src/sums.ts'
import { percent } from '../src/text/units.ts'
import { loadTokenizer } from '../src/tokenizer/load.ts'

const WAYS = ['nearest', 'scale', 'calibrated'] as const
type Way = (typeof WAYS)[number]

const FLAGS = flags({
  groups: ['<list>', 'numbers that share a scale', listOf(wholeNumber(1, 1024)), [32, 128]],
  seeds: ['<list>', 'of the held-out documents', listOf(seed), [2, 3, 4]],
  samples: ['<n>', 'held-out documents of each domain and seed', wholeNumber(1, 1000), 10],
  calibrate: ['<n>', 'training documents of each domain', wholeNumber(1, 1000), 10],
  ways: ['<list>', `to round: ${WAYS.join(', ')}`, namesOf(WAYS), [...WAYS]],
})
type Flags = Given<typeof FLAGS>

interface Stored {
  config: ModelConfig
  values: StoredValues
}

/** A model's values with its layers' matrices rounded; all else is kept. */
function roundedValues(
  { config, values }: Stored,
  groups: Groups,
  way: Way,
  texts: number[][],
): StoredValues {
  const made = new Map<string, Float32Array>()
  const rounded: StoredValues = (name, shape) => made.get(name) ?? values(name, shape)
  const steps = calibrate(config, values, way === 'calibrated' ? texts : [], {
    isRounded: (spec) => typeof quantizedAs(spec, spec.shape, { ...groups, keep: [] }) !== 'string',
    *round({ stored }, inputs) {
      for (const { name, shape } of stored) {
        const matrix = values(name, shape)
        const nearest = () => inGroups(matrix, groups, way === 'nearest' ? [1] : undefined)
        made.set(name, groupedValues(inputs ? inGroupsFor(inputs, matrix, groups) : nearest(), groups))
        yield
      }
    },
    rounded,
  })
  for (const _ of steps);
  return rounded
}

/** How a model reads texts: its loss, that of each token, and the token that it finds most likely after each. */
async function reading({ config }: Stored, values: StoredValues, documents: readonly Document[]) {
  const source = eachStored(({ name, shape }, target) => target.set(values(name, shape)))
  const model = new MoeModel(config, packWeights(weightTable(config), source))
  const losses = new Array<number>(documents.length)
  const [ofTokens, chosen]: number[][] = [[], []]
  try {
    for await (const prediction of predictions(model, documents, { choose: true })) {
      losses[prediction.document] = sum(prediction.losses)
      ofTokens.push(...prediction.losses)
      chosen.push(...prediction.chosen!)
    }
  } finally {
    model.dispose()
  }
  return { loss: lossReport(documents, losses).mean, ofTokens, chosen }
}

async function rows(
  dir: string,
  { groups, seeds, samples, calibrate: count, ways }: Flags,
): Promise<string[]> {
  const { config, family, quantisation } = readConfig(dir)
  const checkpoint = openCheckpoint(dir, (name) => family.ignored(name, config))
  const values = storedFrom(weightSource(dequantised(checkpoint, quantisation), config, family), config)
  const stored = { config, values }
  const codec = new TextCodec(dir, config, await loadTokenizer(dir))
  const training = await documentsOf(codec, DOMAINS, { split: 'train', seed: 1 }, count)
  const texts = training.map(({ tokens }) => tokens)
  const heldOut = await Promise.all(
    seeds.map((seed) => documentsOf(codec, DOMAINS, { split: 'heldout', seed }, samples)),
  )
  const read = async (values: StoredValues) => {
    const readings = []
    for (const documents of heldOut) readings.push(await reading(stored, values, documents))
    return readings
  }
  const before = await read(values)
  const lines: string[] = []
  for (const group of groups)
    for (const way of ways) {
      const after = await read(roundedValues(stored, { bits: 4, group }, way, texts))
      const lost = after.map(({ loss }, i) => loss - before[i].loss)
      const tokens = after.flatMap(({ ofTokens, chosen }, i) =>
        ofTokens.map((loss, t) => ({
          moved: Math.abs(loss - before[i].ofTokens[t]),
          same: Number(chosen[t] === before[i].chosen[t]),
        })),
      )
      const cells = [
        dir,
        group,
        way,
        lost.map((each) => each.toFixed(4)).join(' '),
        mean(lost).toFixed(4),
        mean(tokens.map(({ moved }) => moved)).toFixed(4),
        percent(mean(tokens.map(({ same }) => same))),
      ]
      lines.push(`| ${cells.join(' | ')} |`)
      remark(lines.at(-1) as string)
    }
  checkpoint.close()
  return lines
}

const HEAD = [
  'model',
  'group',
  'rounded',
  'loss more, by seed',
  'mean',
  'a token moves by',
  'same next token',
]

async function compare(dirs: string[], flags: Flags): Promise<void> {
  await startRuntime({ device: 'cpu' })
  const lines: string[] = []
  for (const dir of dirs) lines.push(...(await rows(dir, flags)))
  await write(`${[`| ${HEAD.join(' | ')} |`, `|${HEAD.map(() => '---').join('|')}|`, ...lines].join('\n')}\n`)
}

const program = addFlags(new Command('tsx bench/roundings.ts'), FLAGS)
  .description('What ways to round a model to 4 bits cost in held-out loss.')
  .argument('<dirs...>', 'models')
  .action(compare)

await runScript(program)
