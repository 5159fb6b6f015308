import { join } from 'node:path'
import type { Groups } from '../backend/holding.ts'
import { CheckpointError, InputError } from '../errors.ts'
import { type PublishedName, publishedNames } from '../families/names.ts'
import { PACKED_FORMAT } from '../families/quantisation.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import { PACKED, unpacked } from './compressed.ts'
import { configText, type StoredModel, type WriteHooks, withStored } from './export.ts'
import { inGroups } from './groups.ts'
import { quote } from './json.ts'
import { DTYPE_NAMES, type StoredValues } from './save.ts'
import { type Checkpoint, readCheckpoint, SINGLE_FILE } from './shards.ts'
import { filesInMemory } from './source.ts'
import { type QuantizeOptions, quantizedAs } from './widths.ts'
import { safetensorsInMemory, shardSteps, type TensorToWrite } from './write.ts'

/** How far a matrix is from what it was. */
export interface MatrixError {
  /** By our name, such as `blocks.0.moe.experts.3.gate`. */
  name: string
  bits: number
  /** Root mean square of the difference, as a share of that of the numbers. */
  relative: number
}

/** A model that is to be quantised. */
export type Unquantised = Pick<StoredModel, 'config' | 'family' | 'values'>

/** As the hub advises. */
const MAX_SHARD_BYTES = 5e9
/** Numbers that are rounded between two looks at the signal. */
const NUMBERS_AT_ONCE = 1 << 16

/**
 * Writes a model with its matrices in whole numbers of 8 or 4 bits, as compressed-tensors packs them: what transformers reads.
 * @returns the error of each matrix, and what was noticed
 * @throws InputError for matrices whose rows are no whole number of groups, ConfigError and CheckpointError as loading and writing do
 */
export async function quantizeModel(
  dir: string,
  out: string,
  options: QuantizeOptions,
  hooks?: WriteHooks,
): Promise<{ errors: MatrixError[]; remarks: string[] }> {
  const errors: MatrixError[] = []
  const steps = (model: StoredModel) => quantizeSteps(model, out, options, errors)
  const remarks = await withStored(dir, out, steps, hooks)
  return { errors, remarks }
}

function* quantizeSteps(
  model: StoredModel,
  out: string,
  options: QuantizeOptions,
  errors: MatrixError[],
): Generator<number, void> {
  const { dir, quantisation } = model
  if (quantisation) throw new InputError(`${dir}: is quantised already, expected a model that is not`)
  const { tensors, groups, kept } = quantizedTensors(model, options, errors)
  makeFolder(out)
  yield* shardSteps(out, tensors, MAX_SHARD_BYTES)
  const stored = { dtype: DTYPE_NAMES.BF16, quantization_config: quantizationConfig(groups, kept) }
  writeAtomically(join(out, 'config.json'), configText(model, stored))
}

/**
 * The checkpoint that `quantizeModel` would write, read back, without a file; with a stop after each part of a matrix, which says
 * the share of the work that is done. Errors as there.
 */
export function* quantizedInMemory(
  model: Unquantised & Pick<StoredModel, 'dir'>,
  options: QuantizeOptions,
): Generator<number, Checkpoint> {
  const file = yield* safetensorsInMemory(quantizedTensors(model, options, []).tensors)
  return unpacked(readCheckpoint(filesInMemory(model.dir, new Map([[SINGLE_FILE, file]]))))
}

/** What is to be written; each matrix is rounded, and its error known, when its turn comes. */
function quantizedTensors(
  { config, family, values }: Unquantised,
  options: QuantizeOptions,
  errors: MatrixError[],
) {
  const published = publishedNames(family.names)
  const groups = new Map<string, Groups>()
  const kept: string[] = []
  const tensors = [...tensorSpecs(weightTable(config))].flatMap(([, spec]) =>
    spec.stored.flatMap(({ name: ours, shape }): TensorToWrite[] => {
      const as = quantizedAs(spec, shape, options)
      const name = nameOf(published(ours), config)
      const module = name.replace(/\.weight$/, '')
      if (typeof as === 'string') {
        kept.push(module)
        return [{ name, shape, dtype: as, data: () => values(ours, shape) }]
      }
      groups.set(module, as)
      return packed({ name, ours, shape: shape as [number, number], groups: as }, values, errors)
    }),
  )
  return { tensors, groups, kept }
}

/** What a matrix is called by itself. @throws InputError where the family publishes it only with others, or turned */
function nameOf([first]: PublishedName[], { family }: ModelConfig): string {
  if (first && first.expert === null && !first.layout.transposed && !first.layout.flat) return first.name
  throw new InputError(
    `quantize: models of ${family} hold matrices together or turned, expected a family that publishes each by itself`,
  )
}

/** A matrix that is to be packed. */
interface Matrix {
  name: string
  ours: string
  shape: [rows: number, columns: number]
  groups: Groups
}

/** The three tensors of a matrix. */
function packed(matrix: Matrix, values: StoredValues, errors: MatrixError[]): TensorToWrite[] {
  const { name, shape, groups } = matrix
  const [rows, columns] = shape
  const { bits, group } = groups
  if (columns % group !== 0) {
    throw new InputError(`group: is ${group}, expected a divisor of the ${columns} inputs of ${name}`)
  }
  const scales: Uint8Array[] = [] // those of all matrices are few
  return [
    {
      name: `${name}${PACKED.numbers}`,
      shape: [rows, (columns * bits) / 32],
      dtype: 'I32',
      data: () => roundedParts(matrix, values, scales, errors),
    },
    {
      name: `${name}${PACKED.scales}`,
      shape: [rows, columns / group],
      dtype: 'BF16',
      data: () => scales, // a file has numbers of 32 bits first
    },
    {
      name: `${name}${PACKED.shape}`,
      shape: [2],
      dtype: 'I64',
      data: () => [bytesOf64(shape)],
    },
  ]
}

/** A matrix's whole numbers, some rows at a time; its scales and its error are added to these lists. */
function* roundedParts(
  { name, ours, shape, groups }: Matrix,
  values: StoredValues,
  scales: Uint8Array[],
  errors: MatrixError[],
): Generator<Uint8Array, void> {
  const matrix = values(ours, shape)
  const [, columns] = shape
  const step = Math.max(1, Math.floor(NUMBERS_AT_ONCE / columns)) * columns
  let [squaredError, squares] = [0, 0]
  for (let begin = 0; begin < matrix.length; begin += step) {
    const made = inGroups(matrix.subarray(begin, begin + step), groups)
    squaredError += made.squaredError
    squares += made.squares
    scales.push(new Uint8Array(made.scales.buffer))
    yield made.numbers
  }
  if (!Number.isFinite(squaredError))
    throw new CheckpointError(`${quote(name)} has numbers that are not finite, expected finite ones`)
  const relative = Math.sqrt(squaredError / Math.max(squares, Number.MIN_VALUE))
  errors.push({ name: ours, bits: groups.bits, relative })
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
