import { isUtf8 } from 'node:buffer'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ALL_DOMAINS, DOMAINS, type Domain, generateSample } from '../corpus/index.ts'
import type { Random } from '../corpus/random.ts'
import { InputError, messageOf } from '../errors.ts'
import { entryAt, shownPath } from '../files.ts'
import { counted, thousands } from '../text/units.ts'
import type { FactsSettings } from './facts.ts'

/** Where texts come from. A text is drawn, not read in order, so that any batch can be made again by itself. */
export interface TextSource {
  /** One sentence for the model card. */
  description: string
  /** Kinds of text that batches hold. */
  domains: readonly string[]
  /** How much a batch has of a kind beside the others; equal shares where left out. */
  weightOf?(domain: string): number
  draw(domain: string, split: 'train' | 'validation', random: Random): string
}

/** A document's number in the generator, which has no end. */
const MAX_INDEX = 2 ** 31 - 1

/** The project's own corpus. Validation texts do not hang on the seed: runs are measured on the same ones. */
export function generatedTexts(seed: number, facts: FactsSettings | null = null): TextSource {
  const source: TextSource = {
    description: `this project's generated corpus (${DOMAINS.join(', ')}), seed ${seed}`,
    domains: DOMAINS,
    draw: (domain, split, random) =>
      generateSample(domain as Domain, split, random.int(0, MAX_INDEX), split === 'train' ? seed : 0, facts)
        .text,
  }
  if (!facts) return source
  const { entities, share } = facts
  return {
    ...source,
    description: `${source.description}, and facts of ${thousands(entities)} entities`,
    domains: ALL_DOMAINS,
    weightOf: (domain) => (domain === 'facts' ? share : (1 - share) / DOMAINS.length),
  }
}

/** Texts of files are cut near this length at the end of a paragraph or line. */
const PIECE_CHARS = 800
/** Every so many-th piece is kept for validation. */
const VALIDATION_EVERY = 20

/** Own files, or all `.txt` and `.md` files under a directory, as one domain. InputError where there is too little text. */
export function textsOfFiles(paths: readonly string[]): TextSource {
  const files = paths.flatMap(filesUnder)
  const pieces = files.flatMap((file) => piecesOf(readText(file)))
  if (pieces.length < VALIDATION_EVERY) {
    throw new InputError(
      `--corpus: ${counted(files.length, 'file')} with ${counted(pieces.length, 'piece')} of text, expected at least ${VALIDATION_EVERY} (about ${VALIDATION_EVERY * PIECE_CHARS} characters)`,
    )
  }
  const isValidation = (_: string, i: number) => i % VALIDATION_EVERY === VALIDATION_EVERY - 1
  const splits = {
    train: pieces.filter((piece, i) => !isValidation(piece, i)),
    validation: pieces.filter(isValidation),
  }
  return {
    description: `${counted(files.length, 'file')} (${files
      .map((file) => basename(file))
      .slice(0, 5)
      .join(', ')})`,
    domains: ['text'],
    draw: (_, split, random) => random.pick(splits[split]),
  }
}

function filesUnder(path: string): string[] {
  const stats = entryAt(path, InputError)
  if (!stats) throw new InputError(`--corpus: ${shownPath(path)} does not exist`)
  if (!stats.isDirectory()) return [path]
  return readdirSync(path, { recursive: true })
    .map((name) => join(path, String(name)))
    .filter((file) => /\.(txt|md)$/.test(file))
    .sort()
}

function readText(file: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    throw new InputError(`--corpus: ${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
  const offset = firstInvalidByte(bytes)
  if (offset === null) return bytes.toString()
  throw new InputError(
    `--corpus: ${file} has byte 0x${bytes[offset].toString(16).padStart(2, '0')} at offset ${offset}, expected UTF-8`,
  )
}

/** Where UTF-8 ends; null where all of it is. What cannot be decoded becomes U+FFFD, three other bytes when encoded again. */
export function firstInvalidByte(bytes: Buffer): number | null {
  if (isUtf8(bytes)) return null
  const again = Buffer.from(bytes.toString())
  let at = 0
  while (at < bytes.length && bytes[at] === again[at]) at++
  while ((again[at] & 0xc0) === 0x80) at-- // to the start of that U+FFFD
  return at
}

/** Paragraphs gathered to pieces of about PIECE_CHARS; a paragraph that is longer is cut at lines, a line where it must. */
function piecesOf(text: string): string[] {
  const pieces: string[] = []
  let gathered = ''
  const take = (part: string, joint: string) => {
    if (gathered && gathered.length + part.length > PIECE_CHARS) {
      pieces.push(gathered)
      gathered = ''
    }
    gathered = gathered ? gathered + joint + part : part
  }
  for (const paragraph of text.replaceAll('\r\n', '\n').split(/\n{2,}/)) {
    if (paragraph.length <= PIECE_CHARS) take(paragraph, '\n\n')
    else for (const line of paragraph.split('\n')) for (const part of cut(line)) take(part, '\n')
  }
  return [...pieces, gathered].map((piece) => piece.trim()).filter((piece) => piece !== '')
}

function cut(line: string): string[] {
  return Array.from({ length: Math.max(1, Math.ceil(line.length / PIECE_CHARS)) }, (_, i) =>
    line.slice(i * PIECE_CHARS, (i + 1) * PIECE_CHARS),
  )
}
