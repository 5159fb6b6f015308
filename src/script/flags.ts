import { type Command, Option } from 'commander'
import { DTYPES } from '../backend/dtypes.ts'
import { MAX_THREADS } from '../device/threads.ts'
import { DEVICES } from '../device/types.ts'
import { DISPATCHES, EXECUTORS } from '../model/ways.ts'
import { byteCount, wholeNumber } from './arguments.ts'

type Reader = (text: string, ...previous: never[]) => unknown

/**
 * One option of a command: what stands behind its flag ('': nothing, it is there or not), what help says of it, how the text is read
 * or which texts there are (left out: any), what it is when left out, and what commander is told besides.
 */
type Flag = readonly [
  value: string,
  help: string,
  reader?: Reader | readonly string[],
  otherwise?: unknown,
  more?: (option: Option) => unknown,
]

/** A command's options by what their values are called: `maxTokens` for `--max-tokens`. */
type FlagTable = Readonly<Record<string, Flag>>

/** In the place of what an option is when left out: it may not be. */
export const REQUIRED = Symbol('required')

type ValueOf<F extends Flag> = F[2] extends (...given: never[]) => infer Value
  ? Value
  : F[2] extends readonly (infer Choice)[]
    ? Choice
    : { flag: boolean; list: string[]; maybe: string | true; text: string }[F[0] extends ''
        ? 'flag'
        : F[0] extends `${string}...>`
          ? 'list'
          : F[0] extends `[${string}`
            ? 'maybe'
            : 'text']

type Always<T extends FlagTable> = { [N in keyof T]: T[N][3] extends undefined ? never : N }[keyof T]

/** What a command with these options is given. */
export type Given<T extends FlagTable> = { [N in Always<T>]: ValueOf<T[N]> } & {
  [N in Exclude<keyof T, Always<T>>]?: ValueOf<T[N]>
}

export function flags<const T extends FlagTable>(table: T): T {
  return table
}

export function addFlags(command: Command, table: FlagTable): Command {
  for (const [name, [value, help, reader, otherwise, more]] of Object.entries(table)) {
    const option = new Option(`${flagOf(name)} ${value}`.trimEnd(), help)
    if (typeof reader === 'function') option.argParser(reader as (text: string) => unknown)
    else if (reader) option.choices(reader)
    if (otherwise === REQUIRED) option.makeOptionMandatory()
    else option.default(otherwise)
    more?.(option)
    command.addOption(option)
  }
  return command
}

/** The flag of an option: `--top-k` of `topK`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** What every command has, before or after its name. */
export const GLOBAL = flags({
  json: ['', 'print one JSON value on stdout instead of text'],
  debug: ['', "show stack traces and TensorFlow's own messages"],
  device: ['<name>', 'where to compute; default: the best that works', DEVICES],
  threads: ['<n>', "threads of TensorFlow's ops; default: all", wholeNumber(1, MAX_THREADS)],
})
export type GlobalOptions = Given<typeof GLOBAL>

/** A command's own options together with the global ones, but for the threads: those are set before any command runs. */
export function allOptions<Own>(command: Command): Own & Omit<GlobalOptions, 'threads'> {
  const { threads: _, ...options } = command.optsWithGlobals<Own & GlobalOptions>()
  return options as Own & Omit<GlobalOptions, 'threads'>
}

/** The model of every command that runs one; `loadModel` reads it. */
export const MODEL_ARGUMENT = [
  '<model>',
  'Hugging Face directory (config.json, safetensors, tokenizer.json), or a bundled model such as moe',
] as const

/** Of commands that run a model, how. */
export const DISPATCH = ['<name>', 'how experts are run', [...DISPATCHES, 'auto'], 'auto'] as const
export const EXECUTOR = [
  '<name>',
  'recorded: the forward as one TensorFlow graph; eager: op by op (default: recorded on TensorFlow)',
  EXECUTORS,
] as const
export const DTYPE = [
  '<name>',
  'what weights are held in (default: auto, as they are stored); a half type also lets prompts be rounded to it, where that is faster',
  ['auto', ...DTYPES],
] as const
export const EXPERTS_ON_DISK = [
  '<bytes>',
  'leave experts in the file, and have so many bytes of them in memory, such as 2GB (default: all are in memory)',
  byteCount,
] as const
