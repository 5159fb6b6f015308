import { join } from 'node:path'
import { familyNamed, formatted } from '../families/index.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import type { TensorSpec } from '../model/tensor-spec.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import { product } from '../sums.ts'
import type { FloatDtype } from './dtype.ts'
import type { WeightSource } from './pack.ts'
import { type CheckpointLayout, publishedTensors } from './published.ts'
import { shardSteps } from './write.ts'

/** What goes into a directory beside the weights, by file name; objects are written as JSON. */
export type ExtraFiles = Record<string, string | object>

/** Gives each stored tensor by our name, row-major in its on-disk shape ([out, in] for a linear weight). */
export type StoredValues = (ours: string, shape: number[]) => Float32Array

/** As the Hub advises. */
const MAX_SHARD_BYTES = 5e9

/** What configs call the types of numbers. */
export const DTYPE_NAMES: Record<FloatDtype, string> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** Writes a Hugging Face directory of a model that was made here: config.json, weights in `dtype`, and `extra` files. */
export function saveCheckpoint(
  dir: string,
  config: ModelConfig,
  dtype: FloatDtype,
  values: StoredValues,
  extra: ExtraFiles = {},
): void {
  const json = { ...formatted(config), dtype: DTYPE_NAMES[dtype] }
  const files = { 'config.json': json, ...extra }
  for (const _ of checkpointSteps(dir, config, { dtype, layout: 'published' }, values, files));
}

/** Writes model.safetensors (cut in shards if large) and `files`, config.json among them; stops after each tensor, as `shardSteps`. */
export function* checkpointSteps(
  dir: string,
  config: ModelConfig,
  { dtype, layout }: { dtype: FloatDtype; layout: CheckpointLayout },
  values: StoredValues,
  files: ExtraFiles,
): Generator<number, void> {
  makeFolder(dir)
  const { names } = familyNamed(config.family)
  const tensors = publishedTensors(config, names, values, layout).map(({ keepsFloat32, ...tensor }) => ({
    ...tensor,
    dtype: keepsFloat32 ? ('F32' as const) : dtype,
  }))
  yield* shardSteps(dir, tensors, MAX_SHARD_BYTES)
  for (const [name, content] of Object.entries(files)) {
    writeAtomically(join(dir, name), typeof content === 'string' ? content : jsonText(content))
  }
}

/** The stored tensors of a source, one of the model's tensors in memory at a time. */
export function storedFrom(source: WeightSource, config: ModelConfig): StoredValues {
  const places = new Map<string, { spec: TensorSpec; begin: number; size: number }>()
  for (const [, spec] of tensorSpecs(weightTable(config))) {
    let end = 0
    for (const { name, shape } of spec.stored) {
      places.set(name, { spec, begin: end, size: product(shape) })
      end += product(shape)
    }
  }
  let latest: { spec: TensorSpec; values: Float32Array } | undefined
  return (ours) => {
    const { spec, begin, size } = places.get(ours)!
    if (latest?.spec !== spec) {
      latest = { spec, values: new Float32Array(spec.size) }
      source(spec, latest.values)
    }
    return latest.values.subarray(begin, begin + size)
  }
}

/** JSON has one kind of number, Python two: transformers 5 refuses these without a decimal point. */
const PYTHON_FLOATS = [
  'routed_scaling_factor',
  'rms_norm_eps',
  'swiglu_limit',
  'clip_qkv',
  'embedding_multiplier',
  'residual_multiplier',
  'attention_multiplier',
  'logits_scaling',
]

/** `content` as JSON, whole numbers of these fields with a decimal point; so are those of fields that have one in `original`. */
export function jsonText(content: object, original = ''): string {
  const found = original.matchAll(/"([^"\\]*)"\s*:\s*-?\d+(?:\.|[eE])/g)
  const floats = new Set([...PYTHON_FLOATS, ...[...found].map(([, name]) => name)])
  const text = JSON.stringify(content, null, 2)
  const written = text.replace(/^( *"([^"\\]*)": -?\d+)(?=,?$)/gm, (whole, _, name) =>
    floats.has(name) ? `${whole}.0` : whole,
  )
  return `${written}\n`
}
