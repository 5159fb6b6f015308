const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/
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
