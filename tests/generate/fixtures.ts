import { fileURLToPath } from 'node:url'

/** Folder of a tokenizer in tests/fixtures/tokenizer; '' is the one at the top. */
export function tokenizerDir(style: string): string {
  return fileURLToPath(new URL(`../fixtures/tokenizer/${style}`, import.meta.url))
}
