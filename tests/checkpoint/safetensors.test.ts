import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openSafetensors } from '../../src/checkpoint/disk.ts'
import type { FloatDtype } from '../../src/checkpoint/dtype.ts'
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/write.ts'
import { CheckpointError } from '../../src/errors.ts'
import { expectRejected, temporaryDir, writeRaw } from './files.ts'

const dir = temporaryDir()
const file = join(dir, 'x.safetensors')

function readAll(path: string): Map<string, Float32Array> {
  const opened = openSafetensors(path)
  const all = new Map(opened.tensors.map((tensor) => [tensor.name, tensor.read()]))
  opened.close()
  return all
}

function openOne(path: string) {
  return openSafetensors(path).tensors[0]
}

/** Numbers that a dtype holds exactly, so that a round trip must give them back. */
const exact: Record<FloatDtype, fc.Arbitrary<number>> = {
  F32: fc.float(),
  BF16: fc.nat(0xffff).map((half) => new Float32Array(Uint32Array.of(half << 16).buffer)[0]),
  F16: fc
    .integer({ min: -2047, max: 2047 }) // 2047 * 2^5 is the largest
    .chain((m) => fc.integer({ min: -24, max: 5 }).map((e) => m * 2 ** e)),
}

const someTensor = fc
  .record({
    dtype: fc.constantFrom<FloatDtype>('F32', 'BF16', 'F16'),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    name: fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }),
  })
  .chain(({ dtype, shape, name }) => {
    const length = shape.reduce((product, dimension) => product * dimension, 1)
    return fc
      .array(exact[dtype], { minLength: length, maxLength: length })
      .map((values): TensorToWrite & { data: Float32Array } => ({
        name,
        dtype,
        shape,
        data: Float32Array.from(values),
      }))
  })

describe('what is written is read back', () => {
  test('for any tensors of any dtype', () => {
    fc.assert(
      fc.property(fc.uniqueArray(someTensor, { selector: (tensor) => tensor.name }), (tensors) => {
        writeSafetensors(file, tensors)
        expect(readAll(file)).toEqual(new Map(tensors.map(({ name, data }) => [name, data])))
        const opened = openSafetensors(file)
        for (const tensor of opened.tensors) {
          const { dtype, shape } = tensors.find(({ name }) => name === tensor.name)!
          expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape])
        }
        opened.close()
      }),
    )
  })

  test.each<FloatDtype>(['F32', 'BF16', 'F16'])('over many chunks of %s', (dtype) => {
    const data = Float32Array.from({ length: 600_001 }, (_, i) => (i * 7919) % 256)
    writeSafetensors(file, [{ name: 'a', shape: [600_001], dtype, data }])
    const values = readAll(file).get('a')!
    expect(Buffer.from(values.buffer).equals(Buffer.from(data.buffer))).toBe(true)
  })

  test('slice by slice, a slice being what subarray gives', () => {
    const whole = fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5), fc.constantFrom<FloatDtype>('F32', 'BF16', 'F16'))
    fc.assert(
      fc.property(whole, fc.nat(5), fc.nat(5), ([rows, a, b, dtype], first, more) => {
        const start = Math.min(first, rows)
        const count = Math.min(more, rows - start)
        const data = Float32Array.from({ length: rows * a * b }, (_, i) => i)
        writeSafetensors(file, [{ name: 'x', shape: [rows, a, b], dtype, data }])
        expect(openOne(file).readSlice(start, count)).toEqual(
          data.subarray(start * a * b, (start + count) * a * b),
        )
      }),
    )
  })

  test('data from a function is asked for once, in turn', () => {
    const asked: string[] = []
    const lazily = (name: string): TensorToWrite => ({
      name,
      shape: [1],
      dtype: 'F32',
      data: () => Float32Array.of(asked.push(name)),
    })
    writeSafetensors(file, [lazily('b'), lazily('a')], { note: 'x' })
    expect(asked).toEqual(['a', 'b'])
    expect(readAll(file)).toEqual(new Map([['a', Float32Array.of(1)], ['b', Float32Array.of(2)]])) // biome-ignore format: short
    expect(openSafetensors(file).metadata).toEqual({ note: 'x' })
  })
})

test('the bytes are those of the Python package', () => {
  writeSafetensors(
    file,
    [
      { name: 'h', shape: [3], dtype: 'F16', data: Float32Array.of(1, 2, 3) },
      { name: '1', shape: [1, 2], dtype: 'F32', data: Float32Array.of(1, -2) },
      { name: 'b', shape: [], dtype: 'BF16', data: Float32Array.of(1) },
    ],
    { format: 'pt' },
  )
  // safetensors 0.8.0: serialize_file({...}, file, {'format': 'pt'}) with the same three tensors
  const header =
    '{"__metadata__":{"format":"pt"},"1":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
    '"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},"h":{"dtype":"F16","shape":[3],"data_offsets":[10,16]}}'
  const bytes = readFileSync(file)
  const length = Number(bytes.readBigUInt64LE())
  expect(length % 8).toBe(0)
  expect(bytes.toString('utf8', 8, 8 + length)).toBe(header.padEnd(length))
  expect(bytes.toString('hex', 8 + length)).toBe('0000803f000000c0' + '803f' + '003c00400042')
})

describe('reading', () => {
  test('data at an odd place in the file', () => {
    const data = Buffer.concat([
      Buffer.from([9]),
      Buffer.from(Float32Array.of(1.5, -2.5).buffer),
      Buffer.from([0, 0x3c]),
    ])
    writeRaw(
      file,
      {
        byte: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
        floats: { dtype: 'F32', shape: [2], data_offsets: [1, 9] },
        half: { dtype: 'F16', shape: [], data_offsets: [9, 11] },
      },
      data,
    )
    const [, floats, half] = openSafetensors(file).tensors
    expect(floats.read()).toEqual(Float32Array.of(1.5, -2.5))
    expect(floats.readSlice(1, 1)).toEqual(Float32Array.of(-2.5))
    expect(half.read()).toEqual(Float32Array.of(1))
  })

  test('a NaN keeps its payload', () => {
    writeRaw(file, { a: { dtype: 'F16', shape: [1], data_offsets: [0, 2] } }, Uint8Array.of(0x23, 0xfd))
    expect(new Uint32Array(openOne(file).read().buffer)[0]).toBe((0xff800000 | (0x123 << 13)) >>> 0)
  })

  test.each(['I64', 'I32', 'U8', 'BOOL', 'F64', 'F8_E4M3'])(
    '%s is recognised, and unsupported as float',
    (dtype) => {
      writeRaw(file, { a: { dtype, shape: [0], data_offsets: [0, 0] } })
      const tensor = openOne(file)
      expect(tensor.dtype).toBe(dtype)
      expectRejected(() => tensor.read(), `${file}: "a" has dtype ${dtype}: unsupported`)
      expectRejected(() => tensor.readSlice(0, 0), 'unsupported')
    },
  )

  test('a slice out of range, a slice of a scalar, and a closed file are the mistakes of the caller', () => {
    writeSafetensors(file, [{ name: 'a', shape: [2, 1], dtype: 'F32', data: Float32Array.of(1, 2) }])
    const opened = openSafetensors(file)
    const [tensor] = opened.tensors
    expect(() => tensor.readSlice(1, 2)).toThrow('"a": no slice [1, 3) of shape [2,1]')
    expect(() => tensor.readSlice(-1, 1)).toThrow('no slice')
    expect(() => tensor.readSlice(0, 0.5)).toThrow('no slice')
    opened.close()
    opened.close()
    expect(() => tensor.read()).toThrow('read after close')
    writeSafetensors(file, [{ name: 's', shape: [], dtype: 'F32', data: Float32Array.of(1) }])
    expect(() => openOne(file).readSlice(0, 1)).toThrow('no slice [0, 1) of shape []')
  })

  test('a file cut short after it was opened', () => {
    writeSafetensors(file, [{ name: 'a', shape: [4], dtype: 'BF16', data: new Float32Array(4) }])
    const tensor = openOne(file)
    const size = readFileSync(file).length
    truncateSync(file, size - 3)
    expectRejected(() => tensor.read(), `${file}: ends at byte ${size - 3}, expected ${size} bytes`)
  })
})

describe('writing', () => {
  const good = { name: 'a', shape: [2], dtype: 'F32', data: Float32Array.of(1, 2) } satisfies TensorToWrite
  const bad: TensorToWrite = { name: 'b', shape: [3], dtype: 'F32', data: Float32Array.of(1, 2) }

  test('that fails leaves the old file, and no other', () => {
    const folder = join(dir, 'kept')
    const target = join(folder, 'y.safetensors')
    mkdirSync(folder)
    writeSafetensors(target, [good])
    expect(() => writeSafetensors(target, [good, bad])).toThrow(
      '"b" has 2 elements, expected 3 for shape [3]',
    )
    const failing = () => {
      throw new Error('from the caller')
    }
    expect(() => writeSafetensors(target, [{ ...good, data: failing }])).toThrow('from the caller')
    expect(readAll(target).get('a')).toEqual(good.data)
    expect(readdirSync(folder)).toEqual(['y.safetensors'])
  })

  test('takes bytes in parts, and counts them', () => {
    const bytes = new Uint8Array(good.data.buffer)
    const inParts = (...ends: number[]): TensorToWrite => ({
      ...good,
      data: () => ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)),
    })
    writeSafetensors(file, [inParts(3, 3, 8)])
    expect(readAll(file).get('a')).toEqual(good.data)
    expect(() => writeSafetensors(file, [inParts(3, 7)])).toThrow('"a" has 7 bytes, expected 8')
  })

  test('refuses a name given twice, and the reserved one', () => {
    expect(() => writeSafetensors(file, [good, good])).toThrow('"a" is used twice')
    expect(() => writeSafetensors(file, [{ ...good, name: '__metadata__' }])).toThrow('reserved')
  })

  test('where the disk refuses is a CheckpointError that names the file', () => {
    const target = join(dir, 'absent', 'y.safetensors')
    const write = () => writeSafetensors(target, [good])
    expect(write).toThrow(CheckpointError)
    expect(write).toThrow(`${target}: cannot be written: ENOENT`)
    const occupied = join(dir, 'occupied')
    mkdirSync(occupied)
    writeFileSync(join(occupied, 'in'), '')
    expect(() => writeSafetensors(occupied, [good])).toThrow(`${occupied}: cannot be written`)
    expect(readdirSync(dir).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})

test('reading takes no more memory than the tensor that is read', { timeout: 20_000 }, () => {
  const large = join(dir, 'large.safetensors')
  const elements = 32 * 2 ** 20 // 64 MiB of BF16 and 128 MiB of F32 in the file, 128 MiB each once read
  const ones = () => new Float32Array(elements).fill(1)
  writeSafetensors(large, [
    { name: 'a', shape: [32, 2 ** 20], dtype: 'F32', data: ones },
    { name: 'b', shape: [32, 2 ** 20], dtype: 'BF16', data: ones },
  ])
  // In a process of its own: the peak of this one holds what other tests have used.
  const script = fileURLToPath(new URL('read-peak.ts', import.meta.url))
  const output = execFileSync(process.execPath, ['--expose-gc', '--import', 'tsx', script, large], {
    encoding: 'utf8',
  })
  const { rise, slices } = JSON.parse(output) as { rise: number; slices: number }
  expect(rise).toBeLessThan(1.3 * 4 * elements)
  expect(slices).toBeLessThan(0.3 * 4 * elements)
})
