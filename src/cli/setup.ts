import type { Command } from 'commander'
import { VARIANTS } from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { addFlags, allOptions, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { type Progress, startProgress } from '../script/progress.ts'
import { COMPILER_CHOICES, isFetched } from '../setup/compiler.ts'
import type { Progress as StepProgress } from '../setup/download.ts'
import { inspectSetup, type Preparation, prepareTensorflow } from '../setup/setup.ts'

const FLAGS = flags({
  variant: ['<name>', 'which build; auto: cuda where a usable GPU is, else cpu', ['auto', ...VARIANTS]],
  wheel: ['<files...>', 'use these wheel files instead of downloading them'],
  compiler: [
    '<name>',
    "whose C++ compiler makes the addon: this machine's, or one that is fetched and removed again (default: system, else fetch)",
    COMPILER_CHOICES,
  ],
  force: ['', 'do everything again'],
  check: ['', 'say what is there and what would be done; exit 1 if something is missing'],
})
type Flags = Given<typeof FLAGS> & GlobalOptions

export function register(program: Command): void {
  addFlags(program.command('setup'), FLAGS).action((_: unknown, command: Command) => {
    const given = allOptions<Flags>(command)
    return given.check ? check(given) : prepare(given)
  })
}

async function check(flags: Flags): Promise<void> {
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

async function prepare({ variant, wheel, compiler, force, json }: Flags): Promise<void> {
  const view = new StepsView()
  try {
    const result = await prepareTensorflow({
      variant,
      wheels: wheel,
      compiler,
      force,
      onProgress: (progress) => view.show(progress),
      onMessage: (message) => {
        view.stop()
        console.error(message)
      },
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

/** Each step as work of its own, with the bytes that it counts. */
class StepsView {
  private step = ''
  private shown: Progress | null = null

  show({ step, done, total }: StepProgress): void {
    if (step !== this.step) {
      this.stop()
      this.step = step
      this.shown = startProgress(step)
      this.shown.show(null, '', step, true)
    }
    if (done === undefined) return
    const bytes = total ? `${megabytes(done)} of ${megabytes(total)}` : megabytes(done)
    this.shown?.show(total ? done / total : null, bytes, `${step}, ${bytes}`)
  }

  stop(): void {
    this.shown?.stop()
    this.shown = null
    this.step = ''
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}
