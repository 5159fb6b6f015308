import { type Command, InvalidArgumentError, Option } from 'commander'
import { DTYPES } from '../backend/dtypes.ts'
import type { Device } from '../device/types.ts'
import { EXECUTORS } from '../load-model.ts'
import { DISPATCHES, type DispatchName } from '../model/dispatch/index.ts'

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

/** The model of every command that runs one; `loadModel` reads it. */
export const MODEL_ARGUMENT = [
  '<model>',
  'Hugging Face directory (config.json, safetensors, tokenizer.json), or a bundled model such as moe',
] as const

/** A whole number of at least `min`, digits only: `3x`, `-1`, `1e99` and '' are refused, not guessed at. */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`Expected a whole number from ${min}.`)
    }
    return value
  }
}

/** A decimal number such as 0.7 that `accepts` takes; `expected` ends the sentence about one that it does not. */
export function decimal(expected: string, accepts: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || !Number.isFinite(value) || !accepts(value)) {
      throw new InvalidArgumentError(`Expected ${expected}.`)
    }
    return value
  }
}

const SIZES: Record<string, number> = { '': 1, K: 1e3, M: 1e6, B: 1e9, T: 1e12 }

/** A positive amount with a letter for its size, such as `37B`, `14.8T` or `2788000`. */
export function amount(text: string): number {
  const [, digits, letter] = /^(\d+(?:\.\d+)?)([KMBT]?)$/.exec(text) ?? []
  const value = digits === undefined ? 0 : Number(digits) * SIZES[letter]
  if (!(value > 0 && Number.isFinite(value))) {
    throw new InvalidArgumentError('Expected a positive amount, such as 37B, 14.8T or 2788000.')
  }
  return value
}

/** Token ids such as `1,2,3`. */
export function tokenIds(text: string): number[] {
  const entries = text.split(',').map((entry) => entry.trim())
  const ids = entries.map(Number)
  if (!entries.every((entry) => /^\d+$/.test(entry)) || !ids.every(Number.isSafeInteger)) {
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
  return new Option('--dtype <name>', 'what recorded graphs multiply weights in (default: float32)').choices([
    ...DTYPES,
  ])
}
