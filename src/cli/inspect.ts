import type { Command, Option } from 'commander'
import { type CostDtype, DTYPE_BYTES } from '../cost/bytes.ts'
import { publishedModels } from '../cost/find-published.ts'
import { compareTraining, inspectModel } from '../cost/inspection.ts'
import { modelNamed, type NamedModel } from '../cost/named.ts'
import { compareWithPublished } from '../cost/published.ts'
import { InputError, UsageError } from '../errors.ts'
import { entryAt, shownPath } from '../files.ts'
import { mixturesOf } from '../model/config.ts'
import { bundledDirectory } from '../package.ts'
import * as read from '../script/arguments.ts'
import { addFlags, allOptions, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { write } from '../script/output.ts'
import { checkOutputs, writeOutput } from '../script/outputs.ts'
import { barOf, comparisonText, type Inspected, inspectionText, listText } from './inspect-text.ts'
import { textFromStdin } from './stdin.ts'

const EXAMPLES = `
<model> is a directory with a config.json, a config.json, a bundled model (moe), or the name of a published one (--list),
of which a part that no other has is enough. Only shapes are read; --measure also loads the weights. docs/cost.md explains every number.

Examples:
  $ tinymoe inspect deepseek-v3
  $ tinymoe inspect models/moe --context 512 --measure "Once upon a time there was a king"
  $ tinymoe inspect --compare mixtral-8x7b llama-2-7b --svg bars.svg
`

const FLAGS = flags({
  compare: ['<models...>', 'two or more models side by side'],
  list: ['', 'the published models, with what is published and what is counted'],
  context: [
    '<n>',
    'tokens of the prompt, which a decoded token meets',
    read.wholeNumber(1, read.MAX_TOKENS),
    4096,
  ],
  dtype: [
    '<name>',
    'of the weights (default: float32 for what the engine runs, else as published)',
    Object.keys(DTYPE_BYTES) as CostDtype[],
  ],
  batches: [
    '<list>',
    'batch sizes of the tables',
    read.listOf(read.wholeNumber(1, 1e9)),
    [1, 8, 64, 512],
    (option: Option) => option.default(option.defaultValue, option.defaultValue.join()),
  ],
  measure: ['<text>', 'run this text (- reads stdin) and count the experts it touches'],
  svg: ['<file>', 'total against active parameters as a picture'],
})
type Flags = Given<typeof FLAGS> & GlobalOptions

export function register(program: Command): void {
  addFlags(program.command('inspect'), FLAGS)
    .description('Counts parameters, FLOPs and bytes a token, arithmetic intensity and experts touched.')
    .argument('[model]', 'directory, config.json, or name of a bundled or published model')
    .addHelpText('after', EXAMPLES)
    .action((model: string | undefined, _: unknown, command: Command) =>
      runInspect(model, allOptions<Flags>(command)),
    )
}

async function runInspect(model: string | undefined, flags: Flags): Promise<void> {
  const names = [...(model === undefined ? [] : [model]), ...(flags.compare ?? [])]
  checkFlags(names, flags)
  checkOutputs({ flag: '--svg', path: flags.svg })
  if (flags.list) {
    const models = publishedModels().map((m) => ({ ...m, comparisons: compareWithPublished(m) }))
    await write(flags.json ? `${JSON.stringify(models)}\n` : listText(models))
    return
  }
  const inspected = names.map((name) => inspectNamed(modelNamed(name), flags))
  if (flags.measure !== undefined) inspected[0].measured = await measure(names[0], flags.measure, flags)
  let failure: InputError | null = null
  if (flags.svg !== undefined) {
    const { barPicture } = await import('../cost/svg.ts') // what draws takes long to load
    failure = writeOutput('--svg', flags.svg, barPicture(inspected.map(barOf)))
  }
  await write(flags.json ? jsonOf(inspected, flags) : textOf(inspected, flags))
  if (failure) throw failure
}

function checkFlags(names: string[], { compare, list, measure }: Flags): void {
  if (list) {
    if (names.length > 0) throw new UsageError('--list takes no model')
    return
  }
  if (names.length === 0)
    throw new UsageError('inspect needs a model: a directory, a config.json, or a name (--list)')
  if (compare && names.length < 2) {
    throw new UsageError(
      `--compare ${compare.join(' ')}: expected two models, such as --compare mixtral-8x7b llama-2-7b`,
    )
  }
  if (measure !== undefined && compare)
    throw new UsageError('--measure is about one model: leave out --compare')
}

function inspectNamed({ name, shape, dtype, published }: NamedModel, flags: Flags): Inspected {
  const { context, batches } = flags
  return {
    name,
    ...inspectModel(shape, { context, batches, dtype: flags.dtype ?? dtype }),
    published: published && {
      comparisons: compareWithPublished(published),
      training: published.trainingFlops ? compareTraining(shape, published.trainingFlops) : null,
      source: published.published.source,
      configSource: published.configSource,
      notes: published.notes ?? null,
    },
    measured: null,
  }
}

/** Runs the text once, and counts the experts that batches of its consecutive tokens touch. */
async function measure(name: string, text: string, flags: Flags): Promise<Inspected['measured']> {
  const dir = bundledDirectory(name) ?? name
  if (!entryAt(dir, InputError)?.isDirectory()) {
    throw new InputError(
      `${shownPath(dir)}: --measure needs a directory with weights and a tokenizer to run a text`,
    )
  }
  const prompt = text === '-' ? await textFromStdin('--measure') : text
  const { withModel } = await import('./loading.ts')
  const { weightsAnswer } = await import('../trace/analyse.ts')
  return withModel(dir, { device: flags.device, debug: flags.debug }, async (model) => {
    if (!model.tokenizer) throw new InputError(`${dir}: has no tokenizer.json to read --measure with`)
    if (mixturesOf(model.config.layers).length === 0) {
      throw new InputError(`${dir}: every layer is dense, so there are no experts to count`)
    }
    const limit = model.config.maxPositionEmbeddings
    const tokens = (await model.tokenizer.encode(prompt)).slice(0, limit)
    if (tokens.length === 0) throw new UsageError('--measure: the text has no tokens, expected some text')
    const { logits, trace } = model.forward([tokens], { trace: true })
    logits.dispose()
    const sizes = [...new Set([...flags.batches.filter((size) => size <= tokens.length), tokens.length])]
    return { tokens: tokens.length, answers: sizes.map((size) => weightsAnswer(trace, model.config, size)) }
  })
}

function jsonOf(inspected: Inspected[], { compare }: Flags): string {
  return `${JSON.stringify(compare ? { models: inspected } : inspected[0])}\n`
}

function textOf(inspected: Inspected[], { compare }: Flags): string {
  return compare ? comparisonText(inspected) : inspectionText(inspected[0])
}
