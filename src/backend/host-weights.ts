import type * as tf from '@tensorflow/tfjs-core'
import { tensorflow } from './tensorflow.ts'

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
