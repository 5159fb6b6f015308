import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeBf16 } from '../../src/checkpoint/dtype.ts'
import { publishedTensors } from '../../src/checkpoint/published.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { product } from '../../src/sums.ts'
import { writeRaw } from '../checkpoint/files.ts'
import { randomNumbers } from './random.ts'

/* Directories of random weights as DeepSeek and gpt-oss are published, sizes as odd as the formats let them be. */

interface Part {
  name: string
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

/** Of a tensor of a file, what is in its place. */
type Quantised = (name: string, shape: number[], next: () => number) => Part[]

const common = { vocab_size: 40, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 256 }

/** Blocks of 48 rows and 32 columns, over what a head has of its matrices and over gate's end. */
export const FP8 = {
  config: {
    ...common,
    model_type: 'deepseek_v3',
    hidden_size: 72,
    intermediate_size: 57,
    moe_intermediate_size: 41,
    num_key_value_heads: 4,
    q_lora_rank: 40,
    kv_lora_rank: 24,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 4,
    v_head_dim: 5,
    n_routed_experts: 6,
    num_experts_per_tok: 2,
    n_shared_experts: 1,
    n_group: 2,
    topk_group: 1,
    first_k_dense_replace: 1,
    quantization_config: { quant_method: 'fp8', weight_block_size: [48, 32] },
  },
  block: [48, 32],
} as const

export const MXFP4 = {
  config: {
    ...common,
    model_type: 'gpt_oss',
    hidden_size: 96,
    intermediate_size: 64,
    head_dim: 16,
    num_key_value_heads: 2,
    num_local_experts: 5,
    num_experts_per_tok: 2,
    sliding_window: 8,
    quantization_config: { quant_method: 'mxfp4' },
  },
} as const

/** A matrix of e4m3, all numbers but what is none, with scales by which it is about as large as a trained one. */
const inFp8: Quantised = (name, shape, next) => {
  if (shape.length < 2 || /embed_tokens|lm_head|mlp\.gate\.weight/.test(name)) return []
  const [rows, columns] = shape
  const blocks = [Math.ceil(rows / FP8.block[0]), Math.ceil(columns / FP8.block[1])]
  const bytes = Uint8Array.from({ length: rows * columns }, () => {
    const byte = Math.floor((next() + 1) * 128)
    return (byte & 127) === 127 ? byte & 128 : byte
  })
  const scales = Float32Array.from(
    { length: product(blocks) },
    () => (1.2 + next()) / 90 / Math.sqrt(columns),
  )
  return [
    { name, dtype: 'F8_E4M3', shape, bytes },
    { name: `${name}_scale_inv`, dtype: 'F32', shape: blocks, bytes: new Uint8Array(scales.buffer) },
  ]
}

/** Experts' matrices of e2m1; of a few groups the scale is as small as there is one. */
const inMxfp4: Quantised = (name, shape, next) => {
  if (!/experts\.(gate_up|down)_proj$/.test(name)) return []
  const [E, width, out] = shape
  const blocks = [E, out, width / 32]
  const usual = Math.round(127 - Math.log2(2.5 * Math.sqrt(width)))
  return [
    {
      name: `${name}_blocks`,
      dtype: 'U8',
      shape: [...blocks, 16],
      bytes: Uint8Array.from({ length: product(shape) / 2 }, () => Math.floor((next() + 1) * 128)),
    },
    {
      name: `${name}_scales`,
      dtype: 'U8',
      shape: blocks,
      bytes: Uint8Array.from({ length: product(blocks) }, () =>
        next() < -0.9 ? 0 : usual + Math.floor(2 * next()),
      ),
    },
  ]
}

/** Writes one of the two; what is not quantised is bfloat16. Returns the bytes of all its tensors that are. */
export function writeMinifloats(dir: string, { config: json }: typeof FP8 | typeof MXFP4, seed = 1): number {
  const { config, family } = runnableConfig(json, 'config.json')
  const next = randomNumbers(seed)
  const quantised = json.model_type === 'gpt_oss' ? inMxfp4 : inFp8
  const values = (_: string, shape: number[]) => {
    const [size, middle] = shape.length < 2 ? [0.1, 1] : [1.5 / Math.sqrt(shape[shape.length - 1]), 0]
    return Float32Array.from({ length: product(shape) }, () => middle + size * next())
  }
  let ofQuantised = 0
  const parts = publishedTensors(config, family.names, values).flatMap(
    ({ name, shape, keepsFloat32, data }) => {
      const made = quantised(name, shape, next)
      for (const { bytes } of made) ofQuantised += bytes.length
      if (made.length > 0) return made
      const numbers = data()
      if (keepsFloat32) return { name, dtype: 'F32', shape, bytes: new Uint8Array(numbers.buffer) }
      const bits = new Uint16Array(numbers.length)
      encodeBf16(new Uint32Array(numbers.buffer), bits)
      return { name, dtype: 'BF16', shape, bytes: new Uint8Array(bits.buffer) }
    },
  )
  let end = 0
  const header = Object.fromEntries(
    parts.map(({ name, dtype, shape, bytes }) => {
      const begin = end
      end += bytes.length
      return [name, { dtype, shape, data_offsets: [begin, end] }]
    }),
  )
  mkdirSync(dir, { recursive: true })
  writeRaw(join(dir, 'model.safetensors'), header, Buffer.concat(parts.map(({ bytes }) => bytes)))
  writeFileSync(join(dir, 'config.json'), JSON.stringify(json))
  return ofQuantised
}
