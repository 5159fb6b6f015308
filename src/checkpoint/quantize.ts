import { join } from 'node:path'
import type { Groups } from '../backend/holding.ts'
import { CheckpointError, InputError } from '../errors.ts'
import { type PublishedName, publishedNames } from '../families/names.ts'
import { PACKED_FORMAT } from '../families/quantisation.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import type { ModelConfig } from '../model/config.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import { calibrate, type Texts } from './calibrate.ts'
import { PACKED, unpacked } from './compressed.ts'
import { configText, type StoredModel, type WriteHooks, withStored } from './export.ts'
import { type ErrorFactor, inGroupsFor } from './gptq.ts'
import { type GroupedMatrix, groupedValues, inGroups } from './groups.ts'
import { quote } from './json.ts'
import { publishedTensors } from './published.ts'
import { DTYPE_NAMES } from './save.ts'
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

/** Calibrated matrices by our names, in the parts that they were rounded in. */
type RoundedMatrices = Map<string, GroupedMatrix[]>

/** As the hub advises. */
const MAX_SHARD_BYTES = 5e9
/** Numbers that are rounded between two looks at the signal. */
const NUMBERS_AT_ONCE = 1 << 16
/** Of the work with texts. */
const CALIBRATION_SHARE = 0.95

/**
 * Writes a model with its matrices in whole numbers of 8 or 4 bits, as compressed-tensors packs them: what transformers reads.
 * With `texts` numbers are rounded by what these give to each matrix, on the active backend; what is rounded stays in memory till it is written.
 * @returns the error of each matrix, and what was noticed
 * @throws InputError for matrices whose rows are no whole number of groups, ConfigError and CheckpointError as loading and writing do
 */
export async function quantizeModel(
  dir: string,
  out: string,
  options: QuantizeOptions & { texts?: Texts },
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
  { texts = [], ...options }: QuantizeOptions & { texts?: Texts },
  errors: MatrixError[],
): Generator<number, void> {
  const { dir, quantisation } = model
  if (quantisation) throw new InputError(`${dir}: is quantised already, expected a model that is not`)
  const rounded: RoundedMatrices = new Map()
  const { tensors, matrices, kept } = quantizedTensors(model, options, errors, rounded)
  makeFolder(out)
  const begun = texts.length > 0 ? CALIBRATION_SHARE : 0
  if (texts.length > 0)
    for (const share of calibrateSteps(model, matrices, errors, texts, rounded)) yield begun * share
  for (const share of shardSteps(out, tensors, MAX_SHARD_BYTES)) yield begun + (1 - begun) * share
  const stored = {
    dtype: DTYPE_NAMES.BF16,
    quantization_config: quantizationConfig([...matrices.values()], kept),
  }
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
  rounded?: RoundedMatrices,
) {
  const published = publishedNames(family.names)
  const matrices = new Map<string, Matrix>()
  const kept: string[] = []
  const whole = new Map(publishedTensors(config, family.names, values).map((tensor) => [tensor.name, tensor]))
  const tensors = [...tensorSpecs(weightTable(config))].flatMap(([, spec]) => {
    // Latent attention's keys and values stand together, head by head: cut when they are read, so rounding them would spare nothing.
    const [together] =
      spec.stored.length > 1
        ? published(spec.name).filter(({ layout, expert }) => layout.groups && expert === null)
        : []
    if (together) {
      const { name, shape, data } = whole.get(together.name)!
      kept.push(moduleOf(name))
      return [{ name, shape, dtype: 'BF16' as const, data }]
    }
    return spec.stored.flatMap(({ name: ours, shape }): TensorToWrite[] => {
      const as = quantizedAs(spec, shape, options)
      const name = nameOf(published(ours), config)
      if (typeof as === 'string') {
        kept.push(moduleOf(name))
        return [{ name, shape, dtype: as, data: () => values(ours, shape) }]
      }
      const matrix = { name, ours, shape: shape as [number, number], groups: as }
      matrices.set(ours, matrix)
      return packed(matrix, () => rounded?.get(ours) ?? roundedParts(matrix, values(ours, shape), errors))
    })
  })
  return { tensors, matrices, kept }
}

function moduleOf(name: string): string {
  return name.replace(/\.weight$/, '')
}

/** Rounds the matrices of a model's layers by what texts give to them. */
function calibrateSteps(
  { config, values }: Unquantised,
  matrices: ReadonlyMap<string, Matrix>,
  errors: MatrixError[],
  texts: Texts,
  rounded: RoundedMatrices,
): Iterable<number> {
  return calibrate(config, values, texts, {
    isRounded: ({ stored }) => matrices.has(stored[0].name),
    *round({ stored }, inputs) {
      for (const { name, shape } of stored) {
        const parts: GroupedMatrix[] = []
        rounded.set(name, parts)
        for (const part of roundedParts(matrices.get(name) as Matrix, values(name, shape), errors, inputs)) {
          parts.push(part)
          yield
        }
      }
    },
    rounded(name, shape) {
      const parts = rounded.get(name)
      return parts ? valuesOf(parts, matrices.get(name) as Matrix) : values(name, shape)
    },
  })
}

/** What a matrix's parts stand for. */
function valuesOf(parts: readonly GroupedMatrix[], { shape: [rows, columns], groups }: Matrix): Float32Array {
  const values = new Float32Array(rows * columns)
  let end = 0
  for (const part of parts) {
    const own = groupedValues(part, groups)
    values.set(own, end)
    end += own.length
  }
  return values
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
function packed({ name, shape, groups }: Matrix, parts: () => Iterable<GroupedMatrix>): TensorToWrite[] {
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
      data: () => numbersOf(parts(), scales),
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

/** Whole numbers of a matrix's parts, whose scales are added to the list. */
function* numbersOf(parts: Iterable<GroupedMatrix>, scales: Uint8Array[]): Generator<Uint8Array, void> {
  for (const part of parts) {
    scales.push(new Uint8Array(part.scales.buffer))
    yield part.numbers
  }
}

/** A matrix rounded, some rows at a time; its error is added to the list. */
function* roundedParts(
  { name, ours, shape, groups }: Matrix,
  matrix: Float32Array,
  errors: MatrixError[],
  inputs: ErrorFactor | null = null,
): Generator<GroupedMatrix, void> {
  const [, columns] = shape
  const step = Math.max(1, Math.floor(NUMBERS_AT_ONCE / columns)) * columns
  let [squaredError, squares] = [0, 0]
  for (let begin = 0; begin < matrix.length; begin += step) {
    const values = matrix.subarray(begin, begin + step)
    const made = inputs ? inGroupsFor(inputs, values, groups) : inGroups(values, groups)
    squaredError += made.squaredError
    squares += made.squares
    yield made
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
function quantizationConfig(matrices: readonly Matrix[], ignore: string[]): object {
  const schemes = new Map<string, { of: Groups; targets: string[] }>()
  for (const { name, groups: of } of matrices) {
    const key = `${of.bits} ${of.group}`
    const scheme = schemes.get(key) ?? { of, targets: [] }
    scheme.targets.push(moduleOf(name))
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
