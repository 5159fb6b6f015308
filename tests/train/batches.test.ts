import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { DOMAINS } from '../../src/corpus/index.ts'
import { Random } from '../../src/corpus/random.ts'
import { InputError } from '../../src/errors.ts'
import { Batches, pack } from '../../src/train/batches.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { generatedTexts, type TextSource, textsOfFiles } from '../../src/train/texts.ts'
import { tinyTokenizer } from './tiny.ts'

const BOS = 1
const tokenizer = tokenizerOf(tinyTokenizer)
const never = async () => {
  throw new Error('no more documents were needed')
}

describe('packing', () => {
  test('whole documents, the longest first, and no token of padding', async () => {
    const documents = [
      [1, 11, 12, 2],
      [1, 21, 2],
      [1, 31, 2],
      [1, 41, 42, 43, 2],
    ] // 4 + 3 + 3 + 5 tokens
    const rows = await pack([...documents, [1, 2]], { rows: 2, length: 7 }, new Random(1), never)
    expect(rows.map((row) => row.length)).toEqual([8, 8])
    expect(new Set(rows[0])).toEqual(new Set([1, 41, 42, 43, 2, 21])) // 5 + 3
    expect(new Set(rows[1])).toEqual(new Set([1, 11, 12, 2, 31])) // 4 + 3, and the first token of the last
  })

  test('a gap takes the beginning of a document that found no place, then of more', async () => {
    const more = async () => [1, 99, 2]
    const rows = await pack(
      [
        [1, 5, 6, 2],
        [1, 7, 2],
      ],
      { rows: 1, length: 5 },
      new Random(1),
      more,
    )
    expect(rows).toEqual([[1, 5, 6, 2, 1, 7]])
    expect(await pack([[1, 5, 2]], { rows: 1, length: 5 }, new Random(1), more)).toEqual([
      [1, 5, 2, 1, 99, 2],
    ])
  })

  test('a document longer than a row is cut and loses nothing', async () => {
    const document = Array.from({ length: 10 }, (_, i) => i)
    const rows = await pack([document], { rows: 3, length: 3 }, new Random(1), async () => [77])
    expect(rows).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 77, 77],
    ])
  })
})

describe('batches', () => {
  const batches = (seed: number) =>
    new Batches(generatedTexts(seed), tokenizer, { rows: 8, length: 256 }, seed)

  test('depend on seed and step alone', async () => {
    const rows = await batches(1).training(7)
    expect(await batches(1).training(7)).toEqual(rows)
    expect(await batches(1).training(8)).not.toEqual(rows)
    expect(await batches(2).training(7)).not.toEqual(rows)
  })

  test('rows begin with a document and hold one token more than are predicted', async () => {
    const long = new Batches(generatedTexts(1), tokenizer, { rows: 8, length: 400 }, 1) // no document is cut
    for (const row of await long.training(0)) {
      expect(row.length).toBe(401)
      expect(row[0]).toBe(BOS)
    }
  })

  test('hold every domain with about an equal share of the tokens', async () => {
    const drawn = new Map(DOMAINS.map((domain) => [domain as string, 0]))
    const texts = generatedTexts(1)
    const drawnTexts: [string, string][] = []
    const counting: TextSource = {
      ...texts,
      draw: (domain, split, random) => {
        const text = texts.draw(domain, split, random)
        drawnTexts.push([domain, text])
        return text
      },
    }
    const own = new Batches(counting, tokenizer, { rows: 64, length: 256 }, 1)
    await own.training(0)
    for (const [domain, text] of drawnTexts)
      drawn.set(domain, drawn.get(domain)! + (await tokenizer.encode(text)).length)
    const counts = [...drawn.values()]
    const total = counts.reduce((a, b) => a + b, 0)
    for (const count of counts) expect(Math.abs(count / total - 1 / DOMAINS.length)).toBeLessThan(0.03)
  })

  test('validation texts are the same for every seed', async () => {
    const [one, two] = await Promise.all([1, 2].map((seed) => batches(seed).validation('story')))
    expect(one).toEqual(two)
    expect(one).not.toEqual(await batches(1).validation('german'))
  })
})

describe('own files', () => {
  function directory(): string {
    const dir = mkdtempSync(join(tmpdir(), 'tinymoe-texts-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    return dir
  }

  test('are cut at paragraphs, and every twentieth piece is for validation', () => {
    const dir = directory()
    const paragraph = (i: number) => `${i} ${'word '.repeat(150)}`.trim() // above half a piece: one a piece
    const paragraphs = Array.from({ length: 40 }, (_, i) => paragraph(i))
    mkdirSync(join(dir, 'inner'))
    writeFileSync(join(dir, 'a.txt'), paragraphs.slice(0, 20).join('\n\n'))
    writeFileSync(join(dir, 'inner', 'b.md'), paragraphs.slice(20).join('\r\n\r\n'))
    writeFileSync(join(dir, 'ignored.json'), '{}')
    const texts = textsOfFiles([dir])
    const random = new Random(1)
    const seen = (split: 'train' | 'validation') =>
      new Set(Array.from({ length: 600 }, () => texts.draw('text', split, random)))
    expect(seen('validation')).toEqual(new Set([paragraphs[19], paragraphs[39]]))
    expect(seen('train')).toEqual(new Set(paragraphs.filter((_, i) => i !== 19 && i !== 39)))
  })

  test('lose no character of a line that is too long', () => {
    const dir = directory()
    const long = Array.from({ length: 4000 }, (_, i) => `w${i}`).join('-')
    writeFileSync(join(dir, 'a.txt'), long)
    const texts = textsOfFiles([join(dir, 'a.txt')])
    const random = new Random(1)
    const draws = (['train', 'validation'] as const).flatMap((split) =>
      Array.from({ length: 900 }, () => texts.draw('text', split, random)),
    )
    const pieces = new Set(draws)
    expect([...pieces].reduce((sum, piece) => sum + piece.length, 0)).toBe(long.length)
  })

  test('that are missing or too few are an error', () => {
    const dir = directory()
    expect(() => textsOfFiles([join(dir, 'none')])).toThrow(InputError)
    writeFileSync(join(dir, 'a.txt'), 'short')
    expect(() => textsOfFiles([dir])).toThrow(/1 file with 1 piece of text, expected at least 20/)
  })
})
