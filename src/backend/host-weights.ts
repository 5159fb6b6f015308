import * as tf from '@tensorflow/tfjs-core'
import { type TfjsNode, tensorflow } from './tensorflow.ts'

/**
 * Runs `work` op by op on tensors whose numbers the host keeps for a card's graphs: what `work` brings of them to the card is freed when
 * it ends. Elsewhere it only runs.
 */
export function borrowing<R>(tensors: readonly tf.Tensor[], work: () => R): R {
  const node = tensorflow()
  if (!node?.isUsingGpuDevice) return work()
  const kept = tensors.map((tensor) => ({ tensor, values: node.tensorMap.get(tensor.dataId).values }))
  try {
    return work()
  } finally {
    for (const { tensor, values } of kept) {
      if (!values || tensor.isDisposed) continue
      const data = node.tensorMap.get(tensor.dataId)
      if (data.values) continue
      node.binding.deleteTensor(data.id)
      Object.assign(data, { values, id: -1 }) // as tfjs-node has a tensor that no op has used
    }
  }
}

/** Zeros made on the card, by tfjs-node's own way to run an op: one that is watched would be recorded. */
export function zerosOn(
  backend: TfjsNode,
  executeSingleOutput: TfjsNode['executeSingleOutput'],
  { shape, dtype }: tf.Tensor,
): tf.Tensor {
  const { binding } = backend
  const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value })
  const types = { float32: binding.TF_FLOAT, int32: binding.TF_INT32, bool: binding.TF_BOOL }
  const attributes = [type('T', types[dtype as keyof typeof types]), type('index_type', binding.TF_INT32)]
  const inputs = [tf.tensor1d(shape, 'int32'), tf.scalar(0, dtype)]
  try {
    return executeSingleOutput.call(backend, 'Fill', attributes, inputs)
  } finally {
    tf.dispose(inputs)
  }
}
