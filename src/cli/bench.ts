import { Presets, SingleBar } from 'cli-progress'
import { type Command, Option } from 'commander'
import { type BenchHooks, runBench } from '../../bench/index.ts'
import { conditionLines } from '../../bench/markdown.ts'
import { bundledModel, defaultResultsFolder, prepareFolder, storeReport } from '../../bench/store.ts'
import { remarks, sections } from '../../bench/table.ts'
import type { BenchOptions, BenchReport } from '../../bench/types.ts'
import { UsageError } from '../errors.ts'
import type { Executor } from '../load-model.ts'
import { allOptions, executorOption, type GlobalOptions, wholeNumber } from './arguments.ts'
import { interruptible } from './interrupt.ts'
import { table, write } from './output.ts'

/** The bench's own flags. */
interface Flags {
  model?: string
  executor?: Executor
  tokens: number[]
  dim: number
  hidden: number
  experts: number
  topK: number
  quick?: boolean
  out?: string
  peers?: boolean
  python?: string
}

export function registerBench(program: Command): void {
  program
    .command('bench')
    .description('measure what sparse expert dispatch saves against dense: FLOPs, bytes and time')
    .option('--quick', 'under half a minute, with more noise; the report gets a name of its own')
    .option('--model <dir>', 'checkpoint directory (default: the bundled model)')
    .addOption(executorOption())
    .addOption(
      new Option('--tokens <list>', 'tokens of each case of the layer sweep')
        .default([1, 16, 256, 1024], '1,16,256,1024')
        .argParser((text) => [...new Set(text.split(',').map(wholeNumber(1)))]),
    )
    .addOption(countOption('--dim <n>', 'D, width of the layer', 512))
    .addOption(countOption('--hidden <n>', 'H, width of one expert', 1024))
    .addOption(countOption('--experts <n>', 'E, experts of the layer', 16))
    .addOption(countOption('--top-k <n>', 'K, experts a token goes to', 2))
    .option(
      '--peers',
      "also time transformers' implementations of the layer (Python with torch and transformers)",
    )
    .option('--python <path>', 'interpreter for --peers (default: PYTHON, or python3)')
    .option(
      '--out <dir>',
      'folder for the report (default: bench/results in a checkout, else tinymoe-results)',
    )
    .action(async (_options: unknown, command: Command) => bench(allOptions<Flags>(command)))
}

async function bench(flags: Flags & GlobalOptions): Promise<void> {
  const options = benchOptions(flags)
  const folder = flags.out ?? defaultResultsFolder()
  prepareFolder(folder)
  await interruptible(async (signal) => {
    const report = await withProgress((onProgress) => runBench(options, { signal, onProgress }))
    const files = storeReport(report, folder)
    await write(flags.json ? `${JSON.stringify(report)}\n` : printed(report, files))
  })
}

/** @throws UsageError for numbers that do not go together */
export function benchOptions(flags: Flags & GlobalOptions): BenchOptions {
  const { dim: D, hidden: H, experts: E, topK: K, tokens, quick, device, debug, executor } = flags
  if (K > E)
    throw new UsageError(`--top-k ${K}: a token cannot go to more experts than there are (--experts ${E})`)
  return {
    device,
    debug,
    model: flags.model ?? bundledModel(),
    executor,
    tokens,
    layer: { D, H, E, K },
    quick: quick === true,
    python: flags.peers ? (flags.python ?? (process.env.PYTHON || 'python3')) : null,
  }
}

/** The report for the terminal: tables, remarks, conditions, the conclusion last. */
function printed(report: BenchReport, files: string[]): string {
  return [
    ...sections(report).map(({ title, cells }) => `${title}\n\n${table(cells, [0])}`),
    [...remarks(report), ...conditionLines(report), `report: ${files.join(', ')}`].join('\n'),
    '',
    `${report.conclusion}\n`,
  ].join('\n')
}

/** A bar on stderr, on a terminal only. */
async function withProgress<T>(work: (onProgress: BenchHooks['onProgress']) => Promise<T>): Promise<T> {
  const bar = new SingleBar(
    { format: 'bench [{bar}] {what}', stream: process.stderr, clearOnComplete: true, hideCursor: true },
    Presets.rect,
  )
  bar.start(1, 0, { what: '' })
  try {
    return await work((share, what) => bar.update(share, { what }))
  } finally {
    bar.stop()
  }
}

/** An option that is a whole number from 1. */
function countOption(flags: string, description: string, value: number): Option {
  return new Option(flags, description).default(value).argParser(wholeNumber(1))
}
