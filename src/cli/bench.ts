import { type Command, InvalidArgumentError, Option } from 'commander'
import { type BenchOptions, runBench } from '../../bench/index.ts'
import { type LayerChoice, layerLike } from '../../bench/like.ts'
import { PRESET_PLANS } from '../../bench/presets.ts'
import { bundledModel, defaultResultsFolder, storeReport } from '../../bench/store.ts'
import { terminalReport } from '../../bench/terminal.ts'
import { type LayerDims, PRESETS, type Preset } from '../../bench/types.ts'
import { UsageError } from '../errors.ts'
import type { Executor } from '../load-model.ts'
import { numberOf } from '../text/number.ts'
import { allOptions, executorOption, type GlobalOptions, positive, wholeNumber } from './arguments.ts'
import { registerBenchCompare } from './bench-compare.ts'
import { interruptible } from './interrupt.ts'
import { remark, write } from './output.ts'
import { checkOutputs } from './outputs.ts'
import { withProgress } from './progress.ts'

/** Exit code when `--assert` finds too little. */
const ASSERTION_FAILED = 3

/** What a case of a layer may be at most, whatever the memory: counts that one tensor or graph can hold. */
const MAX_BATCH = 1e9
const MAX_WIDTH = 1e6
const MAX_EXPERTS = 4096

/** The bench's own flags. */
export interface Flags {
  preset: Preset
  quick?: boolean
  model?: string
  executor?: Executor
  tokens?: number[]
  dim?: number
  hidden?: number
  experts?: number
  topK?: number
  like?: string
  scale?: number
  assert?: number
  out?: string
  peers?: boolean
  python?: string
  llamaBench?: string
  gguf?: string
}

export function registerBench(program: Command): void {
  const command = program
    .command('bench')
    .description('measure what sparse expert dispatch saves against dense: FLOPs, bytes and time')
    .addOption(
      new Option(
        '--preset <name>',
        'quick: 30 s, more noise; default: 3 min; full: every combination, as long as it takes; gpu: sizes that fill a large card',
      )
        .choices(PRESETS)
        .default('default'),
    )
    .option('--quick', 'the same as --preset quick')
    .option('--model <model>', 'directory, or a bundled model (default: moe)')
    .addOption(executorOption())
    .addOption(
      new Option('--tokens <list>', "T of each case of the layer sweep (default: the preset's)").argParser(
        (text) => [...new Set(text.split(',').map(wholeNumber(1, MAX_BATCH)))],
      ),
    )
    .addOption(countOption('--dim <n>', 'D, width of the layer', MAX_WIDTH))
    .addOption(countOption('--hidden <n>', 'H, width of one expert', MAX_WIDTH))
    .addOption(countOption('--experts <n>', 'E, experts of the layer', MAX_EXPERTS))
    .addOption(countOption('--top-k <n>', 'K, experts a token goes to', MAX_EXPERTS))
    .option(
      '--like <model>',
      'sizes of the layer from a model: a published or bundled name, a directory or a config.json',
    )
    .addOption(
      new Option('--scale <share>', 'with --like: D and H times this, such as 1/16; E and K stay').argParser(
        share,
      ),
    )
    .addOption(
      new Option(
        '--assert <factor>',
        `exit ${ASSERTION_FAILED} unless sparse is surely this many times as fast as dense at the largest T`,
      ).argParser(positive(MAX_EXPERTS, 'a factor')),
    )
    .option('--peers', "also time transformers' layer and model (Python with torch and transformers)")
    .option('--python <path>', 'interpreter for --peers (default: PYTHON, or python3)')
    .option('--llama-bench <path>', "also time llama.cpp by this llama-bench, on --gguf's model")
    .option('--gguf <file>', 'the model for --llama-bench')
    .option(
      '--out <dir>',
      'folder for the report (default: bench/results in a checkout, else tinymoe-results)',
    )
    .action(async (_options: unknown, command: Command) => bench(allOptions<Flags>(command)))
  registerBenchCompare(command)
}

async function bench(flags: Flags & GlobalOptions): Promise<void> {
  const options = benchOptions(flags)
  const folder = flags.out ?? defaultResultsFolder()
  checkOutputs({ flag: '--out', path: folder, kind: 'folder' })
  await interruptible(async (signal) => {
    const report = await withProgress('bench', (onProgress) =>
      runBench(options, { signal, onProgress, onNotice: remark }),
    )
    const { files, failure } = await storeReport(report, folder)
    await write(flags.json || failure ? `${JSON.stringify(report)}\n` : terminalReport(report, files))
    if (failure) throw failure // the report is on stdout, whole
    if (report.assertion && !report.assertion.passed && !report.interrupted)
      process.exitCode = ASSERTION_FAILED
  })
}

/** @throws UsageError for flags that do not go together */
export function benchOptions(flags: Flags & GlobalOptions): BenchOptions {
  const { device, debug, executor, peers, python, llamaBench: binary, gguf } = flags
  if (flags.quick && flags.preset !== 'default' && flags.preset !== 'quick')
    throw new UsageError(`--quick is --preset quick: leave out one of --quick and --preset ${flags.preset}`)
  if ((binary === undefined) !== (gguf === undefined))
    throw new UsageError('--llama-bench and --gguf belong together: the program, and the model that it runs')
  const preset = flags.quick ? 'quick' : flags.preset
  return {
    device,
    debug,
    preset,
    model: flags.model ?? bundledModel(),
    executor,
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
  const dims = { D: dim ?? preset.D, H: hidden ?? preset.H, E: experts ?? preset.E, K: topK ?? preset.K }
  if (dims.K > dims.E) {
    throw new UsageError(
      `--top-k ${dims.K}: a token cannot go to more experts than there are (--experts ${dims.E})`,
    )
  }
  return { dims, source: 'flags' }
}

/** An option that is a whole number from 1; what it is by default, the preset says. */
function countOption(flags: string, description: string, max: number): Option {
  return new Option(flags, `${description} (default: the preset's)`).argParser(wholeNumber(1, max))
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
