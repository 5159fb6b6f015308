import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Groups } from '../backend/holding.ts'
import { InputError } from '../errors.ts'
import type { RunnableFamily } from '../families/family.ts'
import { type PublishedName, publishedNames } from '../families/names.ts'
import { PACKED_FORMAT } from '../families/quantisation.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import type { TensorSpec } from '../model/tensor-spec.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import { sum } from '../sums.ts'
import { PACKED, unpacked } from './compressed.ts'
import { inGroups } from './groups.ts'
import { weightSource } from './load.ts'
import type { WeightSource } from './pack.ts'
import { type Checkpoint, readCheckpoint, SINGLE_FILE } from './shards.ts'
import { filesInMemory } from './source.ts'
import { type QuantizeOptions, quantizedAs } from './widths.ts'
import { safetensorsInMemory, type TensorToWrite, writeShards } from './write.ts'

/** How far a matrix is from what it was. */
export interface MatrixError {
  /** By our name, such as `blocks.0.moe.experts.3.gate`. */
  name: string
  bits: number
  /** Root mean square of the difference, as a share of that of the numbers. */
  relative: number
}

/** Files of a model that are the same of every width. */
const SAME_FILES = ['generation_config.json', 'tokenizer.json', 'tokenizer_config.json']
/** As the hub advises. */
const MAX_SHARD_BYTES = 5e9

/** A model that is to be quantised. */
export interface Unquantised {
  checkpoint: Checkpoint
  config: ModelConfig
  family: RunnableFamily
}

/** Called with the share of the matrices that are done. */
type OnProgress = (share: number) => void

/**
 * Writes a model with its matrices in whole numbers of 8 or 4 bits, as compressed-tensors packs them: what transformers and vLLM read.
 * @param json the model's config.json
 * @returns the error of each matrix
 * @throws InputError for matrices whose rows are no whole number of groups, CheckpointError as loading and writing do
 */
export function quantizeCheckpoint(
  { json, ...model }: Unquantised & { json: Record<string, unknown> },
  out: string,
  options: QuantizeOptions,
  onProgress: OnProgress = () => {},
): MatrixError[] {
  const { tensors, errors, groups, kept } = quantized(model, options, onProgress)
  makeFolder(out)
  writeShards(out, tensors, MAX_SHARD_BYTES)
  for (const name of SAME_FILES) {
    const from = join(model.checkpoint.dir, name)
    if (existsSync(from)) copyFileSync(from, join(out, name))
  }
  const settings = { ...json, dtype: 'bfloat16', quantization_config: quantizationConfig(groups, kept) }
  writeAtomically(join(out, 'config.json'), `${JSON.stringify(settings, null, 2)}\n`)
  onProgress(1)
  return errors
}

/** The checkpoint that `quantizeCheckpoint` would write, read back, without a file. Errors as there. */
export function quantizedInMemory(
  model: Unquantised,
  options: QuantizeOptions,
  onProgress: OnProgress = () => {},
): Checkpoint {
  const file = safetensorsInMemory(quantized(model, options, onProgress).tensors)
  return unpacked(readCheckpoint(filesInMemory(model.checkpoint.dir, new Map([[SINGLE_FILE, file]]))))
}

/** What is to be written; each matrix is rounded, and its error known, when its turn comes. */
function quantized(
  { checkpoint, config, family }: Unquantised,
  options: QuantizeOptions,
  onProgress: OnProgress,
) {
  const values = weightSource(checkpoint, config, family)
  const published = publishedNames(family.names)
  const specs = [...tensorSpecs(weightTable(config))].flatMap(([, spec]) =>
    spec.stored.map((tensor, i) => ({
      as: quantizedAs(spec, tensor.shape, options),
      ours: tensor.name,
      shape: tensor.shape,
      name: nameOf(published(tensor.name), config),
      read: () => partOf(spec, i, values),
    })),
  )
  let done = 0
  const errors: MatrixError[] = []
  const groups = new Map<string, Groups>()
  const tensors = specs.flatMap(({ as, ours, shape, name, read: numbers }): TensorToWrite[] => {
    const read = () => {
      onProgress(done++ / specs.length) // a file has them in its own order
      return numbers()
    }
    if (typeof as === 'string') return [{ name, shape, dtype: as, data: read }]
    const [rows, columns] = shape
    if (columns % as.group !== 0) {
      throw new InputError(`group: is ${as.group}, expected a divisor of the ${columns} inputs of ${name}`)
    }
    groups.set(moduleOf(name), as)
    return packed(name, rows, columns, as, read, (relative) =>
      errors.push({ name: ours, bits: as.bits, relative }),
    )
  })
  const kept = specs.map(({ name }) => moduleOf(name)).filter((module) => !groups.has(module))
  return { tensors, errors, groups, kept }
}

function moduleOf(name: string): string {
  return name.replace(/\.weight$/, '')
}

/** What a matrix is called by itself. @throws InputError where the family publishes it only with others, or turned */
function nameOf([first]: PublishedName[], { family }: ModelConfig): string {
  if (first && first.expert === null && !first.layout.transposed && !first.layout.flat) return first.name
  throw new InputError(
    `quantize: models of ${family} hold matrices together or turned, expected a family that publishes each by itself`,
  )
}

/** The numbers of one of the stored tensors that one of the model's is made of. */
function partOf(spec: TensorSpec, index: number, source: WeightSource): Float32Array {
  const values = new Float32Array(spec.size)
  source(spec, values)
  const rows = spec.stored.map(({ shape }) => shape[0])
  const row = spec.size / sum(rows)
  const before = sum(rows.slice(0, index))
  return values.slice(before * row, (before + rows[index]) * row)
}

/** The three tensors of a matrix; it is rounded once, when the first of them is written. */
function packed(
  name: string,
  rows: number,
  columns: number,
  groups: Groups,
  read: () => Float32Array,
  onError: (relative: number) => void,
): TensorToWrite[] {
  let scales: Uint16Array | null = null // those of all matrices are few
  const round = () => {
    const { squaredError, squares, ...made } = inGroups(read(), groups)
    onError(Math.sqrt(squaredError / Math.max(squares, Number.MIN_VALUE)))
    scales = made.scales
    return made.numbers
  }
  const words = (columns * groups.bits) / 32
  const bytesOf = (array: Uint8Array | Uint16Array) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  return [
    { name: `${name}${PACKED.numbers}`, shape: [rows, words], dtype: 'I32', data: round },
    {
      name: `${name}${PACKED.scales}`,
      shape: [rows, columns / groups.group],
      dtype: 'BF16',
      data: () => bytesOf(scales as Uint16Array), // a file has numbers of 32 bits first
    },
    {
      name: `${name}${PACKED.shape}`,
      shape: [2],
      dtype: 'I64',
      data: () => bytesOf64([rows, columns]),
    },
  ]
}

function bytesOf64(numbers: number[]): Uint8Array {
  return new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer)
}

/** What compressed-tensors reads: a scheme for each number of bits, and the modules that have none. */
function quantizationConfig(groups: ReadonlyMap<string, Groups>, ignore: string[]): object {
  const schemes = new Map<string, { of: Groups; targets: string[] }>()
  for (const [module, of] of groups) {
    const key = `${of.bits} ${of.group}`
    const scheme = schemes.get(key) ?? { of, targets: [] }
    scheme.targets.push(module)
    schemes.set(key, scheme)
  }
  const [most] = [...schemes.values()].sort((a, b) => b.targets.length - a.targets.length)
  const groupsOf = [...schemes.values()].map(({ of, targets }, i) => [
    `group_${i}`,
    {
      targets: of === most?.of ? ['Linear'] : targets,
      weights: {
        num_bits: of.bits,
        type: 'int',
        symmetric: true,
        strategy: 'group',
        group_size: of.group,
        dynamic: false,
      },
      input_activations: null,
      output_activations: null,
    },
  ])
  return {
    quant_method: 'compressed-tensors',
    format: PACKED_FORMAT,
    quantization_status: 'compressed',
    config_groups: Object.fromEntries(groupsOf),
    ignore,
    kv_cache_scheme: null,
  }
}
