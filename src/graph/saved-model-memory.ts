import { createHash } from 'node:crypto'
import { threadId } from 'node:worker_threads'
import * as tf from '@tensorflow/tfjs-core'
import type { TfjsNode } from '../backend/tensorflow.ts'

/**
 * Puts the bytes of a SavedModel into TensorFlow's own file system in memory and returns the directory's address, so that
 * no way of ending the process can leave a file behind. That file system appends and cannot delete: the name is the
 * content's hash, and equal graphs share one entry, so what stays is bounded by the number of different graphs. Threads of
 * a process share it, and each writes entries of its own, or two could write one at the same time.
 */
export function savedModelInMemory(bytes: Uint8Array, node: TfjsNode): string {
  const folder = `ram://tinymoe/${threadId}/${createHash('sha256').update(bytes).digest('hex')}`
  const file = `${folder}/saved_model.pb`
  if (!exists(file, node)) write(file, bytes, node)
  return folder
}

function exists(file: string, node: TfjsNode): boolean {
  return tf.tidy(
    () => node.executeSingleOutput('MatchingFiles', [], [tf.scalar(file, 'string')]).shape[0] > 0,
  )
}

function write(file: string, bytes: Uint8Array, { binding }: TfjsNode): void {
  // tfjs would encode a string as UTF-8; these are bytes.
  const ids = [Buffer.from(file), bytes].map((value) => binding.createTensor([], binding.TF_STRING, [value]))
  try {
    binding.executeOp('WriteFile', [], ids, 0)
  } finally {
    for (const id of ids) binding.deleteTensor(id)
  }
}
