import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { InputError } from '../../src/errors.ts'
import { firstInvalidByte, textsOfFiles } from '../../src/train/texts.ts'

const utf8 = (text: string) => Buffer.from(text)

test.each<[what: string, bytes: Buffer, offset: number | null]>([
  ['plain and wide characters', utf8('Grüße, 你好 🙂'), null],
  ['U+FFFD itself, and a byte order mark', utf8('\ufeffa\ufffdb'), null],
  ['Latin-1', Buffer.from('Grüße', 'latin1'), 2],
  ['a character cut off at the end', utf8('ab🙂').subarray(0, 5), 2],
  ['a character cut off before another', Buffer.concat([utf8('你').subarray(0, 2), utf8('x')]), 0],
  ['the first bytes of U+FFFD', Buffer.from([0x61, 0xef, 0xbf, 0x41]), 1],
  ['behind U+FFFD', Buffer.concat([utf8('\ufffd'), Buffer.from([0xff])]), 3],
  ['a lone continuation', Buffer.from([0x61, 0x80]), 1],
  ['a surrogate', Buffer.from([0x61, 0x62, 0xed, 0xa0, 0x80]), 2],
])('where UTF-8 ends: %s', (_, bytes, offset) => {
  expect(firstInvalidByte(bytes)).toBe(offset)
})

test('a corpus that is not UTF-8 is refused with file, byte and offset', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-texts-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const good = join(dir, 'a.txt')
  const file = join(dir, 'b.txt')
  writeFileSync(good, 'A line of text.\n\n'.repeat(2000))
  expect(textsOfFiles([good]).domains).toEqual(['text'])
  writeFileSync(file, Buffer.concat([utf8('Text. '.repeat(100)), Buffer.from([0xfc]), utf8('ber')]))
  expect(() => textsOfFiles([dir])).toThrow(
    new InputError(`--corpus: ${file} has byte 0xfc at offset 600, expected UTF-8`),
  )
})
