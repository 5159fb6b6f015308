import { InputError } from '../errors.ts'
import { numberOf } from '../text/number.ts'

/**
 * More are refused: TensorFlow starts them all at its first run, which takes a second for this many and minutes for twenty
 * times as many.
 */
export const MAX_THREADS = 1024

/** How many threads TensorFlow's ops may use, and who said so. */
export interface ThreadChoice {
  threads: number
  reason: string
}

/**
 * The caller's number, else `TINYMOE_THREADS`, else TensorFlow's own `TF_NUM_INTRAOP_THREADS`, else all that the process may
 * use.
 * @throws InputError for a number that is none, or more than `MAX_THREADS`
 */
export function chooseThreads(
  asked: number | undefined,
  env: NodeJS.ProcessEnv,
  available: number,
): ThreadChoice {
  if (asked !== undefined) return { threads: counted('threads', asked), reason: 'asked for (threads)' }
  for (const name of ['TINYMOE_THREADS', 'TF_NUM_INTRAOP_THREADS']) {
    if (env[name]) return { threads: counted(name, env[name]), reason: `asked for (${name})` }
  }
  return { threads: available, reason: 'all that this process may use' }
}

function counted(name: string, value: number | string): number {
  const threads = numberOf(String(value))
  if (threads !== null && Number.isInteger(threads) && threads > 0 && threads <= MAX_THREADS) return threads
  throw new InputError(
    `${name}: ${value} is no number of threads; expected a whole number from 1 to ${MAX_THREADS}`,
  )
}
