import { join } from 'node:path'
import { familyNamed } from '../families/index.ts'
import { publishedNames } from '../families/names.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import type { FloatDtype } from './dtype.ts'
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
  const publishedName = publishedNames(family.names)
  makeFolder(dir)
  const tensors = [...tensorSpecs(weightTable(config))].flatMap(([, { stored, packing }]) =>
    stored.map(({ name: ours, shape }) => {
      const name = publishedName(ours)
      if (name === null) throw new Error(`${config.family} has no published name for ${ours}`)
      // Numbers of the host are added to scores to choose experts: rounding them changes choices, so published files keep them too.
      const stored = packing === 'host' ? 'F32' : dtype
      return { name, shape, dtype: stored, data: () => values(ours, shape) }
    }),
  )
  writeShards(dir, tensors, MAX_SHARD_BYTES)
  const names = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }
  const files = {
    'config.json': configText({ ...family.formatConfig(config), dtype: names[dtype] }),
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
