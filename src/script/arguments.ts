import { type Command, InvalidArgumentError, Option } from 'commander'
import { DTYPES } from '../backend/dtypes.ts'
import type { Device } from '../device/types.ts'
import { DISPATCHES, type DispatchName, EXECUTORS } from '../model/ways.ts'
import { numberOf } from '../text/number.ts'

/** Options every command has, before or after its name. */
export interface GlobalOptions {
  json?: boolean
  debug?: boolean
  device?: Device
}

/** A command's own options together with the global ones. */
export function allOptions<Own>(command: Command): Own & GlobalOptions {
  return command.optsWithGlobals() as Own & GlobalOptions
}

/** The flag of an option: `--top-k` of `topK`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** The model of every command that runs one; `loadModel` reads it. */
export const MODEL_ARGUMENT = [
  '<model>',
  'Hugging Face directory (config.json, safetensors, tokenizer.json), or a bundled model such as moe',
] as const

/** A whole number in any of the forms of `numberOf`, within limits: `3x`, `1.5`, `-1` and '' are refused, not guessed at. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return decimal(
    `a whole number from ${min} to ${max}`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  )
}

/** A number such as 0.7 or 1e-3 that `accepts` takes; `expected` ends the sentence about one that it does not. */
export function decimal(expected: string, accepts: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = numberOf(text)
    if (value === null || !accepts(value)) throw new InvalidArgumentError(`Expected ${expected}.`)
    return value
  }
}

/** A number above 0 that is no larger than `max`. */
export function positive(max: number, what = 'a number'): (text: string) => number {
  return decimal(`${what} above 0 and up to ${max}`, (value) => value > 0 && value <= max)
}

/** Any number that is exact: a seed costs nothing. */
export const seed = wholeNumber(0, Number.MAX_SAFE_INTEGER)

/** Of `--max-tokens` and other counts of tokens in one sequence: more than any model has positions. */
export const MAX_TOKENS = 1e7

const SIZES: Record<string, number> = { '': 1, K: 1e3, M: 1e6, B: 1e9, T: 1e12 }
/** A million T: beyond every training that there will be, and far from where numbers end. */
const MAX_AMOUNT = 1e18

/** A positive amount with a letter for its size, such as `37B`, `14.8T`, `2788000` or `1.5e13`. */
export function amount(text: string): number {
  const [, digits, letter] = /^(.*?)([KMBT]?)$/.exec(text) ?? []
  const value = (numberOf(digits ?? '') ?? 0) * SIZES[letter ?? '']
  if (!(value > 0 && value <= MAX_AMOUNT)) {
    throw new InvalidArgumentError(
      'Expected a positive amount up to 1000000T, such as 37B, 14.8T, 2788000 or 1.5e13.',
    )
  }
  return value
}

/** A number of bytes such as `2GB`, `1.5G`, `500MB` or `2e9`. */
export function byteCount(text: string): number {
  const [, digits, letter] = /^(.*?)([KMGT]?)B?$/.exec(text) ?? []
  const value = Math.floor((numberOf(digits ?? '') ?? 0) * (letter === 'G' ? 1e9 : SIZES[letter ?? '']))
  if (!(value > 0 && value <= Number.MAX_SAFE_INTEGER)) {
    throw new InvalidArgumentError('Expected a number of bytes up to 9007TB, such as 2GB, 500MB or 2e9.')
  }
  return value
}

/** Token ids such as `1,2,3`. */
export function tokenIds(text: string): number[] {
  const entries = text.split(',').map((entry) => entry.trim())
  const ids = entries.map(numberOf)
  if (!ids.every((id): id is number => id !== null && Number.isSafeInteger(id) && id >= 0)) {
    throw new InvalidArgumentError('Expected token ids separated by commas, such as 1,2,3.')
  }
  return ids
}

/** For an option that may be given several times: all its values, in order. */
export function repeated<T>(parse: (text: string) => T): (text: string, previous?: T[]) => T[] {
  return (text, previous = []) => [...previous, parse(text)]
}

/** `--dispatch`, the same for every command that runs a model. */
export function dispatchOption(): Option {
  const choices: (DispatchName | 'auto')[] = [...DISPATCHES, 'auto']
  return new Option('--dispatch <name>', 'how experts are run').choices(choices).default('auto')
}

/** `--executor`, likewise. */
export function executorOption(): Option {
  return new Option(
    '--executor <name>',
    'recorded: the forward as one TensorFlow graph; eager: op by op (default: recorded on TensorFlow)',
  ).choices([...EXECUTORS])
}

/** `--dtype`, likewise. */
export function dtypeOption(): Option {
  return new Option('--dtype <name>', 'what weights are held in (default: auto, as they are stored)').choices(
    ['auto', ...DTYPES],
  )
}

/** `--experts-on-disk`, likewise. */
export function expertsOnDiskOption(): Option {
  return new Option(
    '--experts-on-disk <bytes>',
    'leave experts in the file, and have so many bytes of them in memory, such as 2GB (default: all are in memory)',
  ).argParser(byteCount)
}
