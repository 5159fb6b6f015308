import * as tf from '@tensorflow/tfjs-core'
import type { HalfDtype } from '../../src/backend/dtypes.ts'
import { holdTensor } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { decodeBf16, decodeF16, encodeBf16, encodeF16, f16Table } from '../../src/checkpoint/dtype.ts'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import type { TensorSpec } from '../../src/model/tensor-spec.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import { storedValues } from '../../src/train/parameters.ts'

/** float32 numbers in half precision, to nearest, ties to even, by the functions that write checkpoints. */
export function inBits(values: Float32Array, dtype: HalfDtype): Uint16Array {
  const bits = new Uint16Array(values.length)
  const source = new Uint32Array(values.buffer, values.byteOffset, values.length)
  if (dtype === 'bfloat16') encodeBf16(source, bits)
  else encodeF16(source, bits)
  return bits
}

/** The definition of what a weight held in half precision is: the same numbers rounded. */
export function rounded(values: Float32Array, dtype: HalfDtype): Float32Array {
  const target = new Uint32Array(values.length)
  if (dtype === 'bfloat16') decodeBf16(inBits(values, dtype), target, 0)
  else decodeF16(inBits(values, dtype), target, 0, f16Table())
  return new Float32Array(target.buffer)
}

/** A tensor of the same numbers rounded, in float32. */
export function roundedTensor<T extends tf.Tensor>(x: T, dtype: HalfDtype): T {
  return tf.tensor(rounded(x.dataSync() as Float32Array, dtype), x.shape) as T
}

/** The same numbers rounded, held in a half type; `transposed`: with the rows of a file, [out, in], of a matrix [in, out]. */
export function held<T extends tf.Tensor>(x: T, dtype: HalfDtype, transposed = false): T {
  const rows = transposed ? tf.tidy(() => tf.transpose(x).dataSync()) : x.dataSync()
  const bits = inBits(rows as Float32Array, dtype)
  const shape = transposed ? [...x.shape].reverse() : x.shape
  return holdTensor(activeTensorflow(), new Uint8Array(bits.buffer), shape, { dtype }, transposed) as T
}

/** A model's numbers by our name of a stored tensor, as a checkpoint has them. */
export function numbersOf({ config, weights }: MoeModel): (ours: string) => Float32Array {
  const tensors = leaves<tf.Tensor | Float32Array>(weights).filter(
    (entry): entry is [string, tf.Tensor] => entry[1] instanceof tf.Tensor && !entry[0].includes('.stacked.'),
  )
  const parameters = tensors.map(([name, tensor]) => ({
    name,
    shape: tensor.shape,
    values: tensor.dataSync() as Float32Array,
    variable: null as never,
  }))
  return storedValues(config, parameters, weights)
}

/** The model with its matrices held in a half type, as loading holds them. */
export function heldModel(model: MoeModel, dtype: HalfDtype): MoeModel {
  const numbers = numbersOf(model)
  const source = eachStored(({ name }, target) => target.set(numbers(name)))
  const read = (spec: TensorSpec, target: Uint8Array) => {
    const values = new Float32Array(spec.size)
    source(spec, values)
    target.set(new Uint8Array(inBits(values, dtype).buffer))
  }
  const packed = packWeights(weightTable(model.config), source, {
    held: { holding: () => ({ dtype }), read },
  })
  return new MoeModel(model.config, packed)
}
