/**
 * Random tokenizer files through both libraries, in a process of its own, since the reference library ends it where it panics:
 *
 *     npx tsx tests/tokenizer/compare.ts [files] [seed]
 *
 * Prints one JSON value: how many files both read alike, the JavaScript library refused, or the reference library did not take,
 * what differed, and which settings the files had.
 */
import { createRequire } from 'node:module'
import fc from 'fast-check'
import type * as Bindings from 'tokenizers'
import { javascriptLibrary } from '../../src/tokenizer/javascript.ts'
import { servingLibrary } from '../../src/tokenizer/load.ts'
import { openTokenizer } from '../../src/tokenizer/open.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { Coverage } from './coverage.ts'
import { type Part, text, tokenizerFile } from './random-files.ts'

const TEXTS = 4
const bindings: typeof Bindings = createRequire(import.meta.url)('tokenizers')

export interface Comparison {
  files: number
  equal: number
  /** By what the JavaScript library would not follow. */
  refused: Record<string, number>
  rejected: number
  different: { file: Part; text: string }[]
  coverage: Record<string, string[]>
}

async function compare(files: number, seed: number): Promise<Comparison> {
  const coverage = new Coverage()
  const result: Comparison = { files, equal: 0, refused: {}, rejected: 0, different: [], coverage: {} }
  const texts = fc.sample(text, { numRuns: files * TEXTS, seed: seed + 1 })
  for (const [i, file] of fc.sample(tokenizerFile, { numRuns: files, seed }).entries()) {
    coverage.add(file)
    process.stderr.write(`${i}\n`)
    const reference = opened(() => openTokenizer(file, { library: servingLibrary() }))
    if (!(reference instanceof Object)) {
      result.rejected++
      continue
    }
    const javascript = opened(() => openTokenizer(file, { library: javascriptLibrary }))
    const own = texts.slice(i * TEXTS, (i + 1) * TEXTS)
    const different =
      (await undecoded(file, reference, own)) ?? (await firstDifference(reference, javascript, own))
    if (different !== null) result.different.push({ file, text: different })
    else if (javascript instanceof Object) result.equal++
    else result.refused[javascript] = (result.refused[javascript] ?? 0) + 1
  }
  return { ...result, coverage: coverage.seen() }
}

/** The tokenizer, or in short what is said instead. */
function opened(open: () => Tokenizer): Tokenizer | string {
  try {
    return open()
  } catch (error) {
    return String((error as Error).message).replace(
      /^tokenizer.json: |( with | without | is not supported).*$/g,
      '',
    )
  }
}

/** The first text that our way of decoding writes unlike the reference library's own. */
async function undecoded(file: Part, reference: Tokenizer, texts: string[]): Promise<string | null> {
  const own = bindings.Tokenizer.fromString(JSON.stringify({ ...file, truncation: null, padding: null }))
  for (const text of texts) {
    const ids = Array.from(text, (c) => c.codePointAt(0)! % 80).filter((id) => own.idToToken(id) !== null)
    if (ids.length === 0) continue
    for (const skipSpecialTokens of [false, true]) {
      const right = await own.decode(ids, skipSpecialTokens)
      if ((await reference.decode(ids, { skipSpecialTokens })) !== right) return text
    }
  }
  return null
}

/** The first text that the two read or write unlike each other; the reference library runs also where there is no other. */
async function firstDifference(
  reference: Tokenizer,
  other: Tokenizer | string,
  texts: string[],
): Promise<string | null> {
  for (const text of texts) {
    const ids = await reference.encode(text).catch(() => null)
    if (ids === null) continue // such as an unknown character in a file without an unknown token
    const more = [
      ...ids,
      ...Array.from({ length: 9 }, (_, id) => id),
      ...Array.from(text, (c) => c.codePointAt(0)! % 80),
      999_999,
    ]
    const decoded = [await reference.decode(more), await reference.decode(more, { skipSpecialTokens: false })]
    if (!(other instanceof Object)) continue
    const found = [
      await other.encode(text),
      await other.decode(more),
      await other.decode(more, { skipSpecialTokens: false }),
    ]
    if (JSON.stringify([ids, ...decoded]) !== JSON.stringify(found)) return text
  }
  return null
}

const [files = '300', seed = '1'] = process.argv.slice(2)
process.stdout.write(`${JSON.stringify(await compare(Number(files), Number(seed)))}\n`)
