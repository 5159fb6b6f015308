import { buffer } from 'node:stream/consumers'
import { InputError } from '../errors.ts'

/**
 * The text on stdin, without its last line break.
 * @throws InputError when it is not UTF-8
 */
export async function textFromStdin(): Promise<string> {
  const bytes = await buffer(process.stdin)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '')
  } catch {
    throw new InputError(`--prompt -: the ${bytes.length} bytes on stdin are not UTF-8`)
  }
}
