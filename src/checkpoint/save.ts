import { join } from 'node:path'
import { familyNamed, formatted } from '../families/index.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import type { FloatDtype } from './dtype.ts'
import { publishedTensors } from './published.ts'
import { writeShards } from './write.ts'

/** What goes into a directory beside the weights, by file name; objects are written as JSON. */
export type ExtraFiles = Record<string, string | object>

/** As the Hub advises. */
const MAX_SHARD_BYTES = 5e9

/**
 * Writes a Hugging Face directory: config.json, model.safetensors (in `dtype`, cut in shards if large) and `extra` files. `values` gives each tensor
 * by our name, row-major in its on-disk shape ([out, in] for a linear weight).
 */
export function saveCheckpoint(
  dir: string,
  config: ModelConfig,
  dtype: FloatDtype,
  values: (ours: string, shape: number[]) => Float32Array,
  extra: ExtraFiles = {},
): void {
  const family = familyNamed(config.family)
  makeFolder(dir)
  const tensors = publishedTensors(config, family.names, values).map(({ keepsFloat32, ...tensor }) => ({
    ...tensor,
    dtype: keepsFloat32 ? ('F32' as const) : dtype,
  }))
  writeShards(dir, tensors, MAX_SHARD_BYTES)
  const names = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }
  const files = {
    'config.json': configText({ ...formatted(config), dtype: names[dtype] }),
    ...extra,
  }
  for (const [name, content] of Object.entries(files)) {
    writeAtomically(
      join(dir, name),
      typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`,
    )
  }
}

/** JSON has one kind of number, Python two: transformers 5 refuses these without a decimal point. */
const PYTHON_FLOATS = /^( *"(?:routed_scaling_factor|rms_norm_eps)": -?\d+)(?=,?$)/gm

function configText(config: object): string {
  return `${JSON.stringify(config, null, 2).replace(PYTHON_FLOATS, '$1.0')}\n`
}
