import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import type { Checkpoint } from '../../src/checkpoint/shards.ts'
import { type TensorToWrite, writeSafetensors, writeShards } from '../../src/checkpoint/write.ts'
import { quoted } from '../../src/text/foreign.ts'
import { expectRejected, temporaryDir } from './files.ts'

const root = temporaryDir()
const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url))
const index = 'model.safetensors.index.json'

function newDir(): string {
  const dir = join(root, String(readdirSync(root).length))
  mkdirSync(dir)
  return dir
}

function tensor(name: string, ...values: number[]): TensorToWrite {
  return { name, shape: [values.length], dtype: 'F32', data: Float32Array.from(values) }
}

function contents(checkpoint: Checkpoint): Map<string, Float32Array> {
  return new Map(checkpoint.names().sort().map((name) => [name, checkpoint.get(name).read()])) // biome-ignore format: short
}

/** A directory of two shards, `a` in the first and `b` in the second, with the index given. */
function shardedDir(weightMap: unknown): string {
  const dir = newDir()
  writeSafetensors(join(dir, 's1.safetensors'), [tensor('a', 1)])
  writeSafetensors(join(dir, 's2.safetensors'), [tensor('b', 2)])
  writeFileSync(join(dir, index), JSON.stringify({ metadata: { total_size: 8 }, weight_map: weightMap }))
  return dir
}

const rightMap = { a: 's1.safetensors', b: 's2.safetensors' }

describe('the published fixtures', () => {
  const open = (path: string) => openCheckpoint(join(fixtures, path))

  test('mixtral: one file, shards and the fused layout hold the same numbers', () => {
    const base = open('mixtral')
    const sharded = open('mixtral/sharded')
    expect(base.totalBytes).toBe(450432) // metadata.total_size of the sharded variant
    expect(sharded.totalBytes).toBe(450432)
    expect(contents(sharded)).toEqual(contents(base))
    const fused = open('mixtral/fused').get('model.layers.1.mlp.experts.gate_up_proj') // [E, 2I, D]
    expect(fused.shape).toEqual([8, 80, 32])
    for (let e = 0; e < 8; e++) {
      const expert = `model.layers.1.block_sparse_moe.experts.${e}`
      const gate = base.get(`${expert}.w1.weight`).read()
      const up = base.get(`${expert}.w3.weight`).read()
      expect(fused.readSlice(e, 1)).toEqual(Float32Array.of(...gate, ...up))
    }
  })

  test('mixtral bf16: every number is one that bfloat16 holds', () => {
    const checkpoint = open('mixtral/bf16')
    const embedding = checkpoint.get('model.embed_tokens.weight')
    expect([embedding.dtype, embedding.shape]).toEqual(['BF16', [160, 32]])
    const values = embedding.read()
    expect(values.some((value) => value !== 0) && values.every(Number.isFinite)).toBe(true)
    expect(new Uint32Array(values.buffer).every((bits) => (bits & 0xffff) === 0)).toBe(true)
  })

  test('llama f16: mixed dtypes in one file', () => {
    const checkpoint = open('llama/f16')
    expect(checkpoint.get('model.embed_tokens.weight').dtype).toBe('F16')
    // Published so, to show whether a loader uses it.
    const frequencies = checkpoint.get('model.layers.0.self_attn.rotary_emb.inv_freq')
    expect([frequencies.dtype, frequencies.read()]).toEqual(['F32', new Float32Array(6).fill(7)])
    expect(open('llama').has('lm_head.weight')).toBe(true)
  })

  test('a shard rewritten by us is the same, byte for byte', () => {
    const dir = newDir()
    const checkpoint = open('mixtral')
    const tensors = checkpoint.names().map((name): TensorToWrite => {
      const stored = checkpoint.get(name)
      return { name, shape: stored.shape, dtype: 'F32', data: () => stored.read() }
    })
    expect(writeShards(dir, tensors, 1e9)).toEqual(['model.safetensors'])
    const written = readFileSync(join(dir, 'model.safetensors'))
    expect(written.equals(readFileSync(join(fixtures, 'mixtral/model.safetensors')))).toBe(true)
  })
})

describe('a directory', () => {
  test('with both: the single file wins', () => {
    const dir = shardedDir({ a: 'absent.safetensors' })
    writeSafetensors(join(dir, 'model.safetensors'), [tensor('single', 3)])
    expect(openCheckpoint(dir).names()).toEqual(['single'])
  })

  test('with neither says what it has and what it needs', () => {
    const dir = newDir()
    expectRejected(
      () => openCheckpoint(dir),
      `${dir}: no weights found; expected model.safetensors, or ${index}`,
    )
    writeFileSync(join(dir, 'pytorch_model.bin'), '')
    writeFileSync(join(dir, 'config.json'), '{}')
    expectRejected(
      () => openCheckpoint(dir),
      `${dir}: found "pytorch_model.bin" (only safetensors is supported); expected model.safetensors`,
    )
  })

  test('of which the index got lost names the shards', () => {
    const dir = newDir()
    const shards = join(fixtures, 'mixtral/sharded')
    const name = 'model-00001-of-00004.safetensors'
    copyFileSync(join(shards, name), join(dir, name))
    expectRejected(
      () => openCheckpoint(dir),
      `found "${name}"; expected model.safetensors, or ${index} with its shards`,
    )
  })

  test('that is absent, or a file', () => {
    expectRejected(() => openCheckpoint(join(root, 'absent')), 'absent: no such directory')
    const path = join(newDir(), 'file')
    writeFileSync(path, '')
    expectRejected(() => openCheckpoint(path), `${path}: is not a directory`)
  })

  test('without the tensor asked for', () => {
    const dir = shardedDir(rightMap)
    const checkpoint = openCheckpoint(dir)
    expect(checkpoint.has('c')).toBe(false)
    expectRejected(() => checkpoint.get('c'), `${dir}: no tensor "c" among its 2`)
    checkpoint.close()
    expect(() => checkpoint.get('a').read()).toThrow('read after close')
  })
})

describe('an index is refused', () => {
  const rejects = (weightMap: unknown, ...parts: string[]) => {
    const dir = shardedDir(weightMap)
    expectRejected(() => openCheckpoint(dir), `${join(dir, index)}: `, ...parts)
  }

  test('that names a file which is not there', () => {
    rejects({ ...rightMap, c: 's3.safetensors' }, 'names "s3.safetensors", which is not in')
    const many = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`, `x${i}`]))
    rejects(many, 'names "x0", "x1", "x2", "x3", "x4" and 3 more, which are not in')
  })

  test('that disagrees with its shards', () => {
    rejects({ ...rightMap, c: 's1.safetensors' }, 'puts "c" in s1.safetensors, which does not hold it')
    rejects(
      { a: 's1.safetensors', c: 's2.safetensors', d: 's2.safetensors' },
      'puts "c", "d" in',
      'hold them',
    )
    const dir = shardedDir(rightMap)
    writeSafetensors(join(dir, 's2.safetensors'), [tensor('b', 2), tensor('extra', 3)])
    expectRejected(() => openCheckpoint(dir), 'does not name "extra", which s2.safetensors holds')
    writeSafetensors(join(dir, 's2.safetensors'), [tensor('b', 2), tensor('a', 3)])
    expectRejected(
      () => openCheckpoint(dir),
      'puts "a" in s1.safetensors, but s2.safetensors holds a tensor of that',
    )
  })

  test.each(['../x.safetensors', '/x', 'sub/x', 'C:\\x', '..\\x', '..', '.', '', 'a\0b'])(
    'that names %j, which is not beside it',
    (name) => rejects({ a: name }, `puts "a" in ${quoted(name)}, expected the name of a file beside`),
  )

  test('that is not an index', () => {
    rejects(undefined, 'has no object "weight_map"')
    rejects([], 'has no object "weight_map"')
    rejects({}, '"weight_map" is empty')
    rejects({ a: 1 }, 'puts "a" in number')
    const dir = shardedDir(rightMap)
    writeFileSync(join(dir, index), '{"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}}')
    expectRejected(() => openCheckpoint(dir), 'names "a" twice')
    writeFileSync(join(dir, index), '{')
    expectRejected(() => openCheckpoint(dir), 'is not JSON')
    const folder = newDir()
    mkdirSync(join(folder, index))
    expectRejected(() => openCheckpoint(folder), 'cannot be read: EISDIR')
  })
})

describe('writing shards', () => {
  const tensors = [tensor('a', 1, 2), tensor('b', 3), tensor('c', 4, 5, 6, 7), tensor('d', 8)]

  test('packs in order, a tensor that is too large alone', () => {
    const dir = newDir()
    const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`)
    expect(writeShards(dir, tensors, 12)).toEqual([...shards, index])
    expect(JSON.parse(readFileSync(join(dir, index), 'utf8'))).toEqual({
      metadata: { total_size: 32 },
      weight_map: { a: shards[0], b: shards[0], c: shards[1], d: shards[2] },
    })
    const checkpoint = openCheckpoint(dir)
    expect(checkpoint.totalBytes).toBe(32)
    expect(contents(checkpoint)).toEqual(new Map(tensors.map(({ name, data }) => [name, data])))
  })

  test('replaces the checkpoint that was there, and nothing else', () => {
    const dir = newDir()
    writeFileSync(join(dir, 'config.json'), '{}')
    writeShards(dir, [tensor('old', 0)], 100)
    writeShards(dir, tensors, 12)
    expect(openCheckpoint(dir).names()).toEqual(['a', 'b', 'c', 'd'])
    writeShards(dir, [tensor('new', 0)], 100)
    expect(openCheckpoint(dir).names()).toEqual(['new'])
    expect(readdirSync(dir).sort()).toEqual(['config.json', 'model.safetensors'])
  })

  test('that fails leaves the checkpoint that was there', () => {
    const dir = newDir()
    writeShards(dir, [tensor('old', 0)], 100)
    const broken = { ...tensor('d', 8), shape: [2] }
    expect(() => writeShards(dir, [...tensors.slice(0, 3), broken], 12)).toThrow(
      '"d" has 1 elements, expected 2',
    )
    expect(() => writeShards(dir, [...tensors, tensor('a', 1)], 12)).toThrow('"a" is used twice')
    expect(readdirSync(dir)).toEqual(['model.safetensors'])
    expect(openCheckpoint(dir).names()).toEqual(['old'])
  })
})
