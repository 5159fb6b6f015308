import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openSafetensors } from '../../src/checkpoint/disk.ts'
import { CheckpointError } from '../../src/errors.ts'
import { expectRejected, temporaryDir, writeRaw } from './files.ts'

const dir = temporaryDir()
const file = join(dir, 'x.safetensors')
const f32 = (shape: unknown, data_offsets: unknown) => ({ dtype: 'F32', shape, data_offsets })

/** What opening a file with this header and so many bytes of data must say. */
function rejects(header: string | object, dataBytes: number, ...parts: string[]): void {
  writeRaw(file, header, dataBytes)
  expectRejected(() => openSafetensors(file), `${file}: `, ...parts)
}

describe('a file that is not safetensors is refused', () => {
  test('absent, or not a file', () => {
    expectRejected(
      () => openSafetensors(join(dir, 'absent')),
      join(dir, 'absent'),
      'cannot be opened',
      'ENOENT',
    )
    mkdirSync(join(dir, 'folder'))
    expectRejected(() => openSafetensors(join(dir, 'folder')), 'cannot be opened', 'not a regular file')
  })

  test('too short', () => {
    writeFileSync(file, Buffer.alloc(7))
    expectRejected(() => openSafetensors(file), `${file}: 7 bytes is too short`)
  })

  test('a Git LFS pointer', () => {
    writeFileSync(file, 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n')
    expectRejected(() => openSafetensors(file), 'is a Git LFS pointer')
  })

  test.each([2n ** 64n - 1n, 2n ** 63n, 2n ** 53n + 1n, 100_000_001n])('a header length of %d', (length) => {
    writeRaw(file, '{}', 0, length)
    expectRejected(
      () => openSafetensors(file),
      `header length ${length} is over the limit of 100000000 bytes`,
    )
  })

  test('a header longer than the file', () => {
    writeRaw(file, '{}', 0, 90_000_000n)
    expectRejected(() => openSafetensors(file), 'header length 90000000 does not fit the file of 10 bytes')
  })

  test('a header that is no JSON object', () => {
    rejects('<html>', 0, 'the header does not begin with "{"')
    rejects('', 0, 'the header does not begin with "{"')
    rejects(' {}', 0, 'the header does not begin with "{"')
    rejects('[]', 0, 'the header does not begin with "{"')
    rejects('{"a"', 0, 'the header is not JSON: ')
    rejects('{}\0', 0, 'the header is not JSON: ')
    rejects('{"a', 0, 'the header is not JSON: ')
    rejects('{"\\', 0, 'the header is not JSON: ')
    rejects('{"\\x":1}', 0, 'the header is not JSON: ')
    rejects('{}}}{', 0, 'the header is not JSON: ')
    writeFileSync(file, Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0xfe, 0x7d]))
    expectRejected(() => openSafetensors(file), 'the header is not JSON: ', 'utf-8')
  })
})

describe('a header that contradicts itself or the file is refused', () => {
  test('names given twice', () => {
    const entry = JSON.stringify(f32([1], [0, 4]))
    rejects(`{"a":${entry},"b":${entry},"a" :${entry}}`, 8, 'the header names "a" twice')
    rejects(`{"a":${entry},"\\u0061":${entry}}`, 4, 'the header names "a" twice')
    rejects('{"a":{"dtype":"F32","dtype":"F16","shape":[],"data_offsets":[0,2]}}', 2, 'names "dtype" twice')
    writeRaw(file, `{"dtype":${entry},"\\"b\\\\":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}`, 5)
    expect(openSafetensors(file).tensors.map((tensor) => tensor.name)).toEqual(['dtype', '"b\\'])
  })

  test('dtype', () => {
    rejects(
      { a: { dtype: 'F99', shape: [1], data_offsets: [0, 4] } },
      4,
      '"a" has dtype ["F99"], expected one of',
    )
    rejects({ a: { shape: [1], data_offsets: [0, 4] } }, 4, '"a" has dtype [undefined]')
    rejects({ a: { dtype: 'constructor', shape: [1], data_offsets: [0, 4] } }, 4, 'BF16')
    rejects({ a: 1 }, 0, '"a" is not a JSON object')
  })

  test.each(['-1', '1.5', '9007199254740993', '1e400', '"2"', 'null', '[2]', '-0'])(
    'dimension %s',
    (dimension) => {
      rejects(
        `{"a":{"dtype":"F32","shape":[2,${dimension}],"data_offsets":[0,8]}}`,
        8,
        '"a" has shape [2,',
        '2^53',
      )
    },
  )

  test('shape of no list', () => {
    rejects({ a: f32(2, [0, 8]) }, 8, '"a" has shape [2], expected a list')
    rejects({ a: f32([[2]], [0, 8]) }, 8, '"a" has shape [array], expected a list')
    rejects({ a: f32({}, [0, 8]) }, 8, '"a" has shape [object], expected a list')
  })

  test('millions of lists in lists, quickly', () => {
    const [open, close] = ['['.repeat(5_000_000), ']'.repeat(5_000_000)]
    rejects(`{"a":${open}${close}}`, 0, 'the header nests deeper than 16 levels')
    rejects(`{"a":${open}`, 0, 'the header nests deeper than 16 levels')
  })

  test.each([[[8, 0]], [[-4, 4]], [[0]], [[0, 4, 8]], [[0, 7.5]], ['0,8'], [undefined], [[0, 2 ** 53]]])(
    'data_offsets %j',
    (offsets) => rejects({ a: f32([2], offsets) }, 8, '"a" has data_offsets [', 'begin <= end'),
  )

  test('shape and size', () => {
    rejects(
      { a: f32([2, 3], [0, 20]) },
      20,
      '"a": shape [2,3] of F32 takes 24 bytes, but data_offsets [0,20] span 20',
    )
    rejects({ a: f32([], [0, 8]) }, 8, 'shape [] of F32 takes 4 bytes', 'span 8')
    rejects({ a: f32([0, 2 ** 53 - 1], [0, 8]) }, 8, 'takes 0 bytes')
    rejects({ a: { dtype: 'F4', shape: [3], data_offsets: [0, 1] } }, 1, 'shape [3] of F4 takes no whole')
  })

  test('a size beyond all numbers, quickly', () => {
    rejects(
      { a: f32([2 ** 32, 2 ** 32], [0, 0]) },
      0,
      '"a": shape [4294967296,4294967296]',
      'no possible number',
    )
    rejects({ a: f32(Array(500_000).fill(2 ** 53 - 1), [0, 8]) }, 8, '... 499984 more]', 'no possible number')
  })

  test('data that overlaps, leaves a gap, is missing or left over', () => {
    const a = f32([2], [0, 8])
    rejects({ a, b: f32([2], [4, 12]) }, 12, '"b" at data_offsets [4,12] overlaps "a" at [0,8]')
    rejects({ a, b: f32([2], [0, 8]) }, 8, '"b" at data_offsets [0,8] overlaps "a" at [0,8]')
    rejects(
      { a, b: f32([1], [12, 16]) },
      16,
      '"b" at data_offsets [12,16] leaves a gap: the data before it ends at 8',
    )
    rejects(
      { b: f32([1], [4, 8]) },
      8,
      '"b" at data_offsets [4,8] leaves a gap: the data before it ends at 0',
    )
    rejects(
      { a },
      7,
      '"a" at data_offsets [0,8] is out of range: the file holds 7 bytes of data (truncated?)',
    )
    rejects({ a }, 9, '1 trailing bytes: the last tensor ends at 8, the data at 9')
    rejects({}, 1, '1 trailing bytes')
  })

  test('metadata that is not text', () => {
    rejects({ __metadata__: { a: 1 } }, 0, '__metadata__ "a" is not a string')
    rejects({ __metadata__: [] }, 0, '__metadata__ is not a JSON object')
  })

  test('a name too long to show is cut short', () => {
    rejects({ ['n'.repeat(1_000_000)]: 1 }, 0, `"${'n'.repeat(200)}..." is not a JSON object`)
  })
})

test('what the format allows is accepted', () => {
  writeRaw(file, '{}  ')
  expect(openSafetensors(file).tensors).toEqual([])
  const e = f32([0, 3], [8, 8])
  writeRaw(
    file,
    { __metadata__: { format: 'pt' }, ['__proto__']: f32([2], [8, 16]), b: f32([2], [0, 8]), e },
    16,
  )
  const opened = openSafetensors(file)
  expect(opened.metadata).toEqual({ format: 'pt' })
  expect(opened.tensors.map(({ name, shape, bytes }) => [name, shape, bytes])).toEqual([
    ['b', [2], 8],
    ['e', [0, 3], 0],
    ['__proto__', [2], 8],
  ])
  opened.close()
})

test('a header damaged at random opens, or is a CheckpointError, within a second', () => {
  const valid = Buffer.from(
    `{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},` +
      `"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}`,
  )
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('0123456789-.e{}[]",:\\ ')))
  const edit = fc.record({
    at: fc.nat(valid.length + 7),
    remove: fc.nat(3),
    insert: fc.array(byte, { maxLength: 3 }),
  })
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      const start = performance.now()
      let bytes = Buffer.concat([Buffer.alloc(8), valid, Buffer.alloc(40)])
      bytes.writeBigUInt64LE(BigInt(valid.length))
      for (const { at, remove, insert } of edits) {
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(insert), bytes.subarray(at + remove)])
      }
      writeFileSync(file, bytes)
      try {
        openSafetensors(file).close()
      } catch (error) {
        expect(error).toBeInstanceOf(CheckpointError)
      }
      expect(performance.now() - start).toBeLessThan(1000)
    }),
    { numRuns: 2000 },
  )
})
