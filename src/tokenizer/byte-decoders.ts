import { BYTE_CHARACTERS } from '../text/byte-characters.ts'
import { BYTE_TOKEN } from './tokenizer.ts'

const REPLACEMENT = '\uFFFD'

/**
 * Joins runs of byte tokens (`<0xE2>`) into text. A run that is not UTF-8 as a whole becomes one replacement character a
 * byte, as in the Rust library (tokenizers: decoders/byte_fallback.rs), which published outputs come from.
 */
export function decodeByteFallback(tokens: string[]): string[] {
  const texts: string[] = []
  let run: number[] = []
  const endRun = () => {
    if (run.length > 0) texts.push(decodeRun(run))
    run = []
  }
  for (const token of tokens) {
    const byte = BYTE_TOKEN.exec(token)
    if (byte) run.push(Number.parseInt(byte[1], 16))
    else {
      endRun()
      texts.push(token)
    }
  }
  endRun()
  return texts
}

function decodeRun(bytes: number[]): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))
  } catch {
    return REPLACEMENT.repeat(bytes.length)
  }
}

/**
 * Joins tokens whose characters each stand for a byte (GPT-2's table). A token with any other character is its own UTF-8
 * (tokenizers: pre_tokenizers/byte_level.rs).
 */
export function decodeByteLevel(tokens: string[]): string[] {
  const bytes = tokens.flatMap((token) => {
    const own = Array.from(token, (character) => BYTE_OF.get(character))
    return own.every((byte) => byte !== undefined) ? own : [...new TextEncoder().encode(token)]
  })
  return [new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes))]
}

const BYTE_OF: ReadonlyMap<string, number> = new Map(
  BYTE_CHARACTERS.map((character, byte) => [character, byte]),
)
