import { type Command, InvalidArgumentError } from 'commander'
import { type BenchOptions, runBench } from '../../bench/index.ts'
import { type LayerChoice, type LayerSizes, layerLike } from '../../bench/like.ts'
import { PRESET_PLANS } from '../../bench/presets.ts'
import { terminalReport } from '../../bench/report/terminal.ts'
import { CASE_KINDS, type LayerDims, PRESETS } from '../../bench/schema.ts'
import { bundledModel, defaultResultsFolder, storePart, storeReport } from '../../bench/store.ts'
import { DTYPES } from '../backend/dtypes.ts'
import { WIDTH_NAMES, type Width } from '../cost/widths.ts'
import { UsageError } from '../errors.ts'
import { listOf, namesOf, positive, wholeNumber } from '../script/arguments.ts'
import {
  addFlags,
  allOptions,
  EXECUTOR,
  EXPERTS_ON_DISK,
  flags,
  type Given,
  type GlobalOptions,
} from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { withProgress } from '../script/progress.ts'
import { numberOf } from '../text/number.ts'
import { registerBenchCompare } from './bench-compare.ts'

/** Exit code when `--assert` finds too little. */
const ASSERTION_FAILED = 3

/** What a case of a layer may be at most, whatever the memory: counts that one tensor or graph can hold. */
const MAX_BATCH = 1e9
const MAX_WIDTH = 1e6
const MAX_EXPERTS = 4096

/** Sizes of a layer, or of its cases; what they are by default, the preset says. */
const sizes = <const Help extends string>(help: Help, max: number) =>
  ['<list>', `${help} (default: the preset's)`, listOf(wholeNumber(1, max))] as const

/** Names of widths, or none of them. */
function widths(text: string): Width[] {
  return text === 'none' ? [] : namesOf(WIDTH_NAMES)(text)
}

const FLAGS = flags({
  preset: [
    '<name>',
    'quick: 30 s, more noise; default: 3 min; full: every combination, as long as it takes; gpu: sizes that fill a large card; gpu-smoke: 3 min of it',
    PRESETS,
    'default',
  ],
  quick: ['', 'the same as --preset quick'],
  model: ['<model>', 'directory, or a bundled model (default: moe)'],
  executor: EXECUTOR,
  dtype: ['<name>', 'what weights are held and multiplied in (default: float32)', DTYPES],
  expertsOnDisk: EXPERTS_ON_DISK,
  only: ['<kind>', 'one kind of case (default: all)', CASE_KINDS],
  widths: [
    '<list>',
    "what to hold the model in and compare: float32, bfloat16, int8, int4, or none (default: the preset's)",
    widths,
  ],
  tokens: sizes('T of each case of the layer sweep', MAX_BATCH),
  dim: sizes(
    "D, width of the layer; of several the first is the layer's, the others are tried too",
    MAX_WIDTH,
  ),
  hidden: sizes('H, width of one expert, likewise', MAX_WIDTH),
  experts: sizes('E, experts of the layer, likewise', MAX_EXPERTS),
  topK: sizes('K, experts a token goes to, likewise', MAX_EXPERTS),
  like: [
    '<model>',
    'sizes of the layer from a model: a published or bundled name, a directory or a config.json',
  ],
  scale: ['<share>', 'with --like: D and H times this, such as 1/16; E and K stay', share],
  assert: [
    '<factor>',
    `exit ${ASSERTION_FAILED} unless sparse is surely this many times as fast as dense at the largest T`,
    positive(MAX_EXPERTS, 'a factor'),
  ],
  peers: ['', "also time transformers' layer and model (Python with torch and transformers)"],
  python: ['<path>', 'interpreter for --peers (default: PYTHON, or python3)'],
  llamaBench: ['<path>', "also time llama.cpp by this llama-bench, on --gguf's model"],
  gguf: ['<file>', 'the model for --llama-bench'],
  out: ['<dir>', 'folder for the report (default: bench/results in a checkout, else tinymoe-results)'],
})
export type Flags = Given<typeof FLAGS> & GlobalOptions

export function register(program: Command): void {
  const command = addFlags(program.command('bench'), FLAGS).action(
    async (_options: unknown, command: Command) => bench(allOptions<Flags>(command)),
  )
  registerBenchCompare(command)
}

async function bench(flags: Flags): Promise<void> {
  const options = benchOptions(flags)
  const folder = flags.out ?? defaultResultsFolder()
  checkOutputs({ flag: '--out', path: folder, kind: 'folder' })
  await interruptible('what is measured is stored', async (signal) => {
    const deaths: string[] = []
    const onDeath = (sentence: string) => deaths.push(sentence)
    const report = await withProgress('bench', (onProgress) =>
      runBench(options, {
        signal,
        onProgress,
        onNotice: remark,
        onDeath,
        onPart: (part) => storePart(part, folder),
      }),
    )
    const { files, failure } = await storeReport(report, folder)
    await write(flags.json || failure ? `${JSON.stringify(report)}\n` : terminalReport(report, files))
    for (const sentence of deaths) remark(sentence) // last, since a table with a gap does not say why
    if (failure) throw failure // the report is on stdout, whole
    if (report.assertion && !report.assertion.passed && !report.interrupted)
      process.exitCode = ASSERTION_FAILED
  })
}

/** @throws UsageError for flags that do not go together */
export function benchOptions(flags: Flags): BenchOptions {
  const { device, debug, executor, dtype = 'float32', only, peers, python, llamaBench: binary, gguf } = flags
  if (flags.quick && flags.preset !== 'default' && flags.preset !== 'quick')
    throw new UsageError(`--quick is --preset quick: leave out one of --quick and --preset ${flags.preset}`)
  if ((binary === undefined) !== (gguf === undefined))
    throw new UsageError('--llama-bench and --gguf belong together: the program, and the model that it runs')
  if (flags.assert !== undefined && only !== undefined && only !== 'layer')
    throw new UsageError(`--assert is about the layer: leave out one of --assert and --only ${only}`)
  const preset = flags.quick ? 'quick' : flags.preset
  return {
    device,
    debug,
    preset,
    model: flags.model ?? bundledModel(),
    executor,
    dtype,
    expertsOnDisk: flags.expertsOnDisk,
    only,
    widths: flags.widths,
    tokens: flags.tokens ?? null,
    layer: layerOf(flags, PRESET_PLANS[preset].layer),
    python: peers ? (python ?? (process.env.PYTHON || 'python3')) : null,
    llamaBench: binary !== undefined && gguf !== undefined ? { binary, gguf } : null,
    assertFactor: flags.assert ?? null,
  }
}

/** The layer by flags or by `--like`; null when neither says anything. */
function layerOf(flags: Flags, preset: LayerDims): LayerChoice | null {
  const { dim, hidden, experts, topK, like, scale } = flags
  const given = [dim, hidden, experts, topK].some((value) => value !== undefined)
  if (like !== undefined) {
    if (given)
      throw new UsageError('--like names all sizes: leave out --dim, --hidden, --experts and --top-k')
    return layerLike(like, scale ?? 1)
  }
  if (scale !== undefined) throw new UsageError('--scale needs --like: the model whose layer is scaled')
  if (!given) return null
  const lists = {
    D: dim ?? [preset.D],
    H: hidden ?? [preset.H],
    E: experts ?? [preset.E],
    K: topK ?? [preset.K],
  }
  const { D, H, E, K } = lists
  if (Math.max(...K) > E[0] || K[0] > Math.min(...E)) {
    throw new UsageError(`--top-k ${K}: a token cannot go to more experts than there are (--experts ${E})`)
  }
  const sizes: LayerSizes = Object.fromEntries(
    Object.entries(lists).filter(([, values]) => values.length > 1),
  )
  return { dims: { D: D[0], H: H[0], E: E[0], K: K[0] }, sizes, source: 'flags' }
}

/** A share above 0 and up to 1, as `1/16` or `0.0625`. */
function share(text: string): number {
  const parts = text.split('/').map(numberOf)
  const [numerator, denominator = 1] = parts
  const value = (numerator ?? 0) / (denominator ?? 0)
  if (parts.length > 2 || !(value > 0 && value <= 1)) {
    throw new InvalidArgumentError('Expected a share above 0 and up to 1, such as 1/16 or 0.25.')
  }
  return value
}
