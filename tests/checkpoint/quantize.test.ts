import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { decodeBf16, encodeBf16 } from '../../src/checkpoint/dtype.ts'
import { inGroups } from '../../src/checkpoint/groups.ts'
import { quantizeModel } from '../../src/checkpoint/quantize.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import type { QuantizeOptions } from '../../src/checkpoint/widths.ts'
import { weightBytesPerToken } from '../../src/cost/bytes.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { bytesByWidth } from '../../src/cost/widths.ts'
import { startRuntime } from '../../src/device/index.ts'
import { loadModel, readConfig } from '../../src/load-model.ts'
import { leaves } from '../../src/model/tree.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { sum } from '../../src/sums.ts'
import { numbersOf } from '../helpers/held.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomNumbers, randomTokens } from '../helpers/random.ts'

const folder = mkdtempSync(join(tmpdir(), 'quantize-'))
afterAll(() => rmSync(folder, { recursive: true }))

const V = 40
const source = join(folder, 'source')

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
  const model = randomModel({ D: 64, H: 96, E: 4, K: 2, V })
  saveCheckpoint(source, model.config, 'F32', numbersOf(model))
  model.dispose()
})

/** The source quantised, in a folder of its own. */
async function quantized(name: string, options: Partial<QuantizeOptions> = {}) {
  const out = join(folder, name)
  return { out, ...(await quantizeModel(source, out, settingsOf(options))) }
}

function settingsOf(options: Partial<QuantizeOptions>): QuantizeOptions {
  return { bits: 4, group: 32, keep: ['embedding'], ...options }
}

describe('bytes by width', () => {
  const width = (name: string) =>
    bytesByWidth(readConfig(source).config).find((each) => each.name.startsWith(name))!

  test.each([8, 4] as const)('of %i bits: those of the tensors that quantize writes', async (bits) => {
    const checkpoint = openCheckpoint((await quantized(`bytes-${bits}`, { bits })).out)
    const bytes = (has: (name: string) => boolean) =>
      sum(checkpoint.names().map((name) => (has(name) ? checkpoint.get(name).bytes : 0)))
    const isSize = (name: string) => name.endsWith('weight_shape') // read once, when it is loaded
    const experts = bytes((name) => name.includes('.experts.') && !isSize(name))
    const table = bytes((name) => name.includes('embed_tokens'))
    const others = bytes((name) => !name.includes('.experts.') && !isSize(name)) - table
    checkpoint.close()
    expect(experts).toBeGreaterThan(others)
    expect(width(`${bits} bits`)).toMatchObject({
      stored: others + table + experts,
      read: others + table / V + experts / 2, // K = 2 of E = 4
      readByAll: others + table / V + experts,
    })
  })

  test('of one type: so many for each weight', () => {
    const { config } = readConfig(source)
    const { total } = countParameters(config)
    expect(width('float32')).toMatchObject({ stored: 4 * total, read: weightBytesPerToken(config) })
    expect(width('bfloat16')).toMatchObject({ stored: 2 * total, read: weightBytesPerToken(config) / 2 })
  })

  test('a width whose groups do not fit is left out', () => {
    const narrow = randomModel({ D: 16, H: 24, E: 4, K: 2, V })
    expect(bytesByWidth(narrow.config).map(({ name }) => name)).toEqual(['float32', 'bfloat16'])
    narrow.dispose()
  })
})

describe('a matrix in groups', () => {
  const matrices = fc.record({
    bits: fc.constantFrom(8 as const, 4 as const),
    group: fc.constantFrom(32, 64, 128),
    groups: fc.integer({ min: 1, max: 6 }),
    seed: fc.nat(),
    size: fc.constantFrom(1e-3, 1, 50),
  })

  /** What packed numbers stand for, one at a time. */
  function definition(
    { numbers, scales }: ReturnType<typeof inGroups>,
    bits: 8 | 4,
    group: number,
  ): number[] {
    const wide = new Uint32Array(scales.length)
    decodeBf16(scales, wide, 0)
    const scale = new Float32Array(wide.buffer)
    return Array.from({ length: (numbers.length * 8) / bits }, (_, i) => {
      const whole = bits === 8 ? numbers[i] : i % 2 === 0 ? numbers[i >> 1] & 15 : numbers[i >> 1] >> 4
      return (whole - 2 ** (bits - 1)) * scale[Math.floor(i / group)]
    })
  }

  test('is within half a step of what it was, its error is the one told, and looking for a scale never makes it worse', () => {
    fc.assert(
      fc.property(matrices, ({ bits, group, groups, seed, size }) => {
        const next = randomNumbers(seed)
        const values = Float32Array.from({ length: group * groups }, () => size * next() ** 3)
        const nearest = inGroups(values, { bits, group }, [1])
        const stands = definition(nearest, bits, group)
        for (let g = 0; g < groups; g++) {
          const part = values.subarray(g * group, (g + 1) * group)
          const step = Math.max(...part.map(Math.abs)) / (2 ** (bits - 1) - 0.5)
          for (const [i, value] of part.entries())
            expect(Math.abs(stands[g * group + i] - value)).toBeLessThan(0.52 * step + 0.01 * Math.abs(value))
        }
        const squared = values.reduce((sum, value, i) => sum + (value - stands[i]) ** 2, 0)
        expect(nearest.squaredError).toBeCloseTo(squared, 5 - Math.floor(Math.log10(size ** 2 + 1)))
        expect(inGroups(values, { bits, group }).squaredError).toBeLessThanOrEqual(nearest.squaredError)
      }),
      { numRuns: 60 },
    )
  })

  test('has the scale, of those that are tried, of the smallest squared error, and the nearest numbers', () => {
    const bfloat16 = (value: number) => {
      const [bits, wide] = [new Uint16Array(1), new Uint32Array(1)]
      encodeBf16(new Uint32Array(Float32Array.of(value).buffer), bits)
      decodeBf16(bits, wide, 0)
      return new Float32Array(wide.buffer)[0]
    }
    const tries = fc.uniqueArray(fc.integer({ min: 60, max: 100 }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(matrices, tries, ({ bits, group, groups, seed, size }, percents) => {
        const next = randomNumbers(seed)
        const values = Float32Array.from({ length: group * groups }, () => size * next() ** 3)
        const cuts = percents.map((percent) => percent / 100)
        const zero = 2 ** (bits - 1)
        const expected = Array.from({ length: groups }, (_, g) => {
          const part = [...values.subarray(g * group, (g + 1) * group)]
          const tried = cuts.map((cut) => {
            const scale = bfloat16((Math.max(...part.map(Math.abs)) * cut) / (zero - 0.5))
            const numbers = part.map(
              (value) => scale * Math.min(Math.max(Math.round(value / scale), -zero), zero - 1) + 0, // no -0
            )
            return { numbers, error: sum(part.map((value, i) => (value - numbers[i]) ** 2)) }
          })
          return tried.reduce((best, each) => (each.error < best.error ? each : best)).numbers
        })
        expect(definition(inGroups(values, { bits, group }, cuts), bits, group)).toEqual(expected.flat())
      }),
      { numRuns: 60 },
    )
  })

  test('of zeros is zeros, and so is one of numbers that are too small for a scale', () => {
    const tiny = Float32Array.from({ length: 64 }, (_, i) => i * 1e-40)
    expect(definition(inGroups(tiny, { bits: 4, group: 32 }), 4, 32)).toEqual(new Array(64).fill(0))

    expect(definition(inGroups(new Float32Array(64), { bits: 4, group: 32 }), 4, 32)).toEqual(
      new Array(64).fill(0),
    )
  })
})

describe.each([
  { bits: 8, group: 32 },
  { bits: 4, group: 32 },
] as const)('$bits bits in groups of $group', ({ bits, group }) => {
  test('held so, a model is the one of the same numbers in float32, eagerly and as graphs of any number of rows', async () => {
    const before = tf.memory().numTensors
    const { out, errors } = await quantized(`${bits}-${group}`, { bits, group })
    for (const { relative } of errors) expect(relative).toBeLessThan(bits === 8 ? 0.008 : 0.12)
    const [full, held] = [
      await loadModel(out, { device: 'cpu', dtype: 'float32' }),
      await loadModel(out, { device: 'cpu' }),
    ]
    expect([full.dtype, held.dtype]).toEqual(['float32', `int${bits}`])
    const numbers = new Map(leaves<tf.Tensor>(full.weights))
    for (const [path, tensor] of leaves<tf.Tensor | Float32Array>(held.weights)) {
      if (tensor instanceof tf.Tensor)
        expect([...tensor.dataSync()], path).toEqual([...numbers.get(path)!.dataSync()])
    }
    for (const dispatch of DISPATCHES)
      for (const rows of [1, 3, 16, 40]) {
        const tokens = randomTokens(rows, V, rows)
        const [expected, actual] = [full, held].map((model) => logitsOf(model.forward(tokens, { dispatch })))
        const eager = logitsOf(held.forward(tokens, { dispatch, interventions: {} }))
        const most = Math.max(...expected.map(Math.abs))
        for (const [i, value] of expected.entries()) {
          expect(Math.abs(actual[i] - value)).toBeLessThan(2e-5 * most)
          expect(Math.abs(eager[i] - value)).toBeLessThan(2e-5 * most)
        }
      }
    for (const model of [full, held]) model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('bfloat16 by name: it stays so, and many rows are rounded where pairs of bfloat16 are multiplied', async () => {
    const { out } = await quantized(`named-${bits}`, { bits, group })
    const [exact, named] = [
      await loadModel(out, { device: 'cpu' }),
      await loadModel(out, { device: 'cpu', dtype: 'bfloat16' }),
    ]
    expect(named.dtype).toBe(exact.dtype)
    for (const rows of [1, LIMITS.fewRows, LIMITS.fewRows + 9]) {
      const tokens = randomTokens(rows, V, rows)
      const [expected, actual] = [exact, named].map((one) =>
        logitsOf(one.forward(tokens, { dispatch: 'dense' })),
      )
      const off = Math.max(...actual.map((value, i) => Math.abs(value - expected[i])))
      expect(off > 0).toBe(rows > LIMITS.fewRows && backend().processor?.pairs === true)
      expect(off).toBeLessThan(10 * 2 ** -8 * Math.max(...expected.map(Math.abs))) // tens of roundings of random sign
    }
    for (const model of [exact, named]) model.dispose()
  })
})

test.each([[], ['by texts']])('ended at any time, nothing is left in the folder %j', async (...by) => {
  const whole: number[] = []
  const settings = { ...settingsOf({}), texts: by.map((_, i) => randomTokens(9, V, i)) }
  const tensors = tf.memory().numTensors
  await quantizeModel(source, join(folder, `whole-${by}`), settings, {
    onShare: (share) => whole.push(share),
  })
  expect(whole).toEqual(whole.toSorted((a, b) => a - b))
  for (let stop = 1; stop <= whole.length; stop += 7) {
    const out = join(folder, `ended-${by}-${stop}`)
    const ending = new AbortController()
    let shares = 0
    const onShare = () => {
      if (++shares === stop) ending.abort()
    }
    await expect(quantizeModel(source, out, settings, { onShare, signal: ending.signal })).rejects.toThrow(
      'aborted',
    )
    expect([shares, readdirSync(out)]).toEqual([stop, []])
    expect(tf.memory().numTensors).toBe(tensors)
  }
})

test('by texts every matrix of the layers is rounded otherwise, the same way each time, and stands where it did', async () => {
  const settings = { ...settingsOf({}), texts: [1, 2, 3].map((i) => randomTokens(30, V, i)) }
  const outs = ['by-texts', 'by-texts-again'].map((name) => join(folder, name))
  for (const out of outs) await quantizeModel(source, out, settings)
  const plain = await quantized('by-none')
  const { errors } = await quantizeModel(source, outs[0], settings)
  expect(errors.map(({ name }) => name).sort()).toEqual(plain.errors.map(({ name }) => name).sort())
  const [one, again, none] = [...outs, plain.out].map((out) => openCheckpoint(out))
  expect(one.names()).toEqual(none.names())
  for (const name of one.names()) {
    const [bytes, same, other] = [one, again, none].map((each) => {
      const tensor = each.get(name)
      return [tensor.shape, ...tensor.raw(0, tensor.bytes)]
    })
    expect(bytes).toEqual(same)
    const isRounded = name.endsWith('_packed') && !name.startsWith('lm_head')
    if (isRounded) expect(bytes, name).not.toEqual(other)
    else if (!name.endsWith('_scale')) expect(bytes, name).toEqual(other)
  }
  for (const checkpoint of [one, again, none]) checkpoint.close()
})

test.each([Number.NaN, Number.POSITIVE_INFINITY])('a matrix with %d in it is one sentence', async (value) => {
  const model = randomModel({ D: 64, H: 96, E: 1, K: 1, V })
  const from = join(folder, `has-${value}`)
  const numbers = numbersOf(model)
  const name = 'blocks.1.moe.experts.0.down'
  saveCheckpoint(from, model.config, 'F32', (ours) => {
    const values = numbers(ours)
    return ours === name ? values.map((each, i) => (i === 100 ? value : each)) : values
  })
  model.dispose()
  await expect(quantizeModel(from, join(folder, `${value}-4`), settingsOf({}))).rejects.toThrow(
    '"model.layers.1.block_sparse_moe.experts.0.w2.weight" has numbers that are not finite, expected finite ones',
  )
})

test('a matrix that is rounded in parts is what it is as one', async () => {
  const wide = randomModel({ D: 64, H: 1056, E: 1, K: 1, V }) // 67,584 numbers, more than 2 ** 16
  const from = join(folder, 'wide')
  saveCheckpoint(from, wide.config, 'F32', numbersOf(wide))
  wide.dispose()
  await quantizeModel(from, join(folder, 'wide-4'), settingsOf({}))
  const [before, after] = [from, join(folder, 'wide-4')].map((dir) => openCheckpoint(dir))
  for (const part of ['w1', 'w2']) {
    const name = `model.layers.1.block_sparse_moe.experts.0.${part}.weight`
    const { numbers, scales } = inGroups(before.get(name).read(), { bits: 4, group: 32 })
    const [packed, scale] = ['packed', 'scale'].map((kind) => after.get(`${name}_${kind}`))
    expect(packed.raw(0, packed.bytes)).toEqual(numbers)
    expect(scale.raw(0, scale.bytes)).toEqual(new Uint8Array(scales.buffer))
  }
  for (const checkpoint of [before, after]) checkpoint.close()
})

test('what is kept stays, the unembedding has 8 bits, and the numbers of every matrix are told', async () => {
  const { out, errors } = await quantized('kept', { keep: ['embedding', 'attention'] })
  const checkpoint = openCheckpoint(out)
  const names = checkpoint.names()
  const [packed, shape] = ['packed', 'shape'].map((part) => checkpoint.get(`lm_head.weight_${part}`))
  expect([packed.dtype, packed.shape, shape.dtype]).toEqual(['I32', [V, 64 / 4], 'I64'])
  expect(names).toContain('model.layers.0.self_attn.q_proj.weight')
  expect(names).toContain('model.layers.1.block_sparse_moe.gate.weight')
  expect(checkpoint.get('model.layers.1.block_sparse_moe.experts.2.w2.weight_packed').shape).toEqual([
    64,
    96 / 8,
  ])
  checkpoint.close()
  expect(errors.map(({ bits }) => bits).sort()).toEqual([...new Array(2 * 4 * 3).fill(4), 8])
})

test('rows that are no whole groups, and what this library cannot read, are one sentence', async () => {
  await expect(quantized('odd', { group: 128 })).rejects.toThrow(
    /^group: is 128, expected a divisor of the 64 inputs of /,
  )
  const { out } = await quantized('settings')
  const file = join(out, 'config.json')
  const json = JSON.parse(readFileSync(file, 'utf8'))
  const load = (settings: object) => {
    writeFileSync(file, JSON.stringify({ ...json, quantization_config: settings }))
    return loadModel(out, { device: 'cpu' })
  }
  await expect(load({ quant_method: 'gptq' })).rejects.toThrow(
    'config.json: "quantization_config.quant_method" is "gptq", expected weights that are not quantised, fp8 in blocks, mxfp4, or compressed-tensors',
  )
  await expect(load({ quant_method: 'compressed-tensors', format: 'dense' })).rejects.toThrow(
    '"quantization_config.format" is "dense", expected pack-quantized',
  )
})

test.each([8, 4] as const)('experts of %i bits that stay on disk give the same bits', async (bits) => {
  const { out } = await quantized(`on-disk-${bits}`, { bits })
  const tokens = randomTokens(20, V, 7)
  const [whole, part] = await Promise.all(
    [undefined, 4 * expertBytes(bits)].map((expertsOnDisk) =>
      loadModel(out, { device: 'cpu', expertsOnDisk }),
    ),
  )
  for (const some of [tokens, tokens.slice(0, 1)])
    expect(logitsOf(part.forward(some))).toEqual(logitsOf(whole.forward(some)))
  expect(part.expertReads!.misses).toBeGreaterThan(8) // of two layers, one of which there is room for
  whole.dispose()
  part.dispose()
})

/** Three matrices of 64 by 96 in groups of 32, each with a scale of two bytes. */
function expertBytes(bits: number): number {
  return 3 * 64 * 96 * (bits / 8 + 2 / 32)
}
