import progress, { type GenericFormatter, SingleBar } from 'cli-progress'
import { type Command, Option } from 'commander'
import { VARIANTS, type Variant } from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { type ProgressLines, progressLines } from '../script/progress.ts'
import { COMPILER_CHOICES, type CompilerChoice, isFetched } from '../setup/compiler.ts'
import type { Progress } from '../setup/download.ts'
import { inspectSetup, type Preparation, prepareTensorflow } from '../setup/setup.ts'

interface SetupFlags {
  variant?: Variant | 'auto'
  wheel?: string[]
  compiler?: CompilerChoice
  force?: boolean
  check?: boolean
  json?: boolean
}

export function registerSetup(program: Command): void {
  program
    .command('setup')
    .addOption(
      new Option('--variant <name>', 'which build; auto: cuda where a usable GPU is, else cpu').choices([
        'auto',
        ...VARIANTS,
      ]),
    )
    .option('--wheel <files...>', 'use these wheel files instead of downloading them')
    .addOption(
      new Option(
        '--compiler <name>',
        "whose C++ compiler makes the addon: this machine's, or one that is fetched and removed again (default: system, else fetch)",
      ).choices(COMPILER_CHOICES),
    )
    .option('--force', 'do everything again')
    .option('--check', 'say what is there and what would be done; exit 1 if something is missing')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<SetupFlags>()
      if (flags.check) await check(flags)
      else await prepare(flags)
    })
}

async function check(flags: SetupFlags): Promise<void> {
  const state = await inspectSetup(flags.variant)
  if (!state.addon) process.exitCode = 1
  if (flags.json) {
    console.log(JSON.stringify(state))
    return
  }
  console.log(`variant    ${state.variant}: ${state.reason}`)
  console.log(
    `libraries  ${state.libraries ? `in ${state.folder}` : 'missing: would be downloaded and unpacked'}`,
  )
  const by = state.compiler ? ` by ${state.compiler}` : ''
  console.log(`addon      ${state.addon ? `compiled${by}` : 'missing: would be compiled'}`)
  console.log(
    `placed     ${state.placed ? 'yes, tfjs-node finds it by itself' : 'no: would be copied into node_modules'}`,
  )
}

async function prepare({ variant, wheel, compiler, force, json }: SetupFlags): Promise<void> {
  const view = new ProgressView()
  try {
    const result = await prepareTensorflow({
      variant,
      wheels: wheel,
      compiler,
      force,
      onProgress: (progress) => view.show(progress),
      onMessage: (message) => view.print(message),
    })
    view.stop()
    console.log(json ? JSON.stringify(result) : describePreparation(result))
  } catch (error) {
    view.stop()
    // Asked for in particular it must succeed; as the preparation of another command it may leave things to wasm.
    const asked = (variant ?? 'auto') !== 'auto' || wheel || compiler || force
    if (!(error instanceof SetupError) || asked) throw error
    if (json) console.log(JSON.stringify({ variant: null, fallback: 'wasm', cause: error.message }))
    else console.log(`native TensorFlow is not set up, falling back to wasm: ${error.message}`)
  }
}

export function describePreparation({
  variant,
  reason,
  folder,
  changed,
  compiled,
  compiler,
}: Preparation): string {
  const done = `TensorFlow (${variant}) ${changed ? 'is now set up' : 'was already set up'} in ${folder}; ${reason}`
  if (!compiled) return done
  return `${done}; its addon was compiled by ${compiler}${isFetched(compiler) ? ', which was fetched for it and is removed again' : ''}`
}

/** A bar on a terminal, elsewhere a line for a step and then now and again; both on stderr, so that stdout stays for programs. */
class ProgressView {
  private step = ''
  private bar: SingleBar | null = null
  private lines: ProgressLines | null = null

  show({ step, done, total }: Progress): void {
    if (step !== this.step) this.begin(step)
    if (done === undefined) return
    this.lines?.show(`${step}, ${megabytes(done)}${total ? ` of ${megabytes(total)}` : ''}`)
    if (!this.bar) return
    if (total) this.bar.setTotal(total)
    this.bar.update(done, { counted: total ? `of ${megabytes(total)}` : '' })
  }

  print(message: string): void {
    this.stop()
    console.error(message)
  }

  stop(): void {
    this.bar?.stop()
    this.lines?.stop()
    this.bar = null
    this.lines = null
    this.step = ''
  }

  private begin(step: string): void {
    this.stop()
    this.step = step
    if (!process.stderr.isTTY) {
      this.lines = progressLines()
      this.lines.show(step, true)
      return
    }
    this.bar = new SingleBar({
      stream: process.stderr,
      format: formatLine,
      linewrap: false,
      hideCursor: true,
    })
    this.bar.start(Number.MAX_SAFE_INTEGER, 0, { step, counted: '' })
  }
}

/** The bar only where the end is known, bytes only where they are counted. */
const formatLine: GenericFormatter = (options, { progress: done, value }, { step, counted }) => {
  if (counted) return `${progress.Format.BarFormat(done, options)} ${megabytes(value)} ${counted}  ${step}`
  return value > 0 ? `${step}, ${megabytes(value)}` : step
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}
