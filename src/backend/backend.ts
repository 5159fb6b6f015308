import * as tf from '@tensorflow/tfjs-core'
import { type TfjsNode, tensorflow } from './tensorflow.ts'
import { type TensorflowOps, tensorflowOps } from './tensorflow-ops.ts'

/** What the model and its graphs ask of the place that computes, beyond tfjs. */
export interface Backend {
  /** tfjs' name for it: 'tensorflow', 'wasm' or 'cpu' (plain JavaScript). */
  name: string
  /** TensorFlow itself, for recording and running graphs; null where something else computes. */
  tensorflow: TfjsNode | null
  /** TensorFlow's ops that tfjs does not offer; null where something else computes. */
  ops: TensorflowOps | null
  /** Whether tensors lie on a CUDA card. */
  onCard: boolean
  /** What TensorFlow's ops run on; null on a card, and where something else computes. The fused kernels are for it. */
  processor: Processor | null
  /** A tensor's numbers, waited for, as `tf.tidy` takes no promise: a card stops for it. */
  read<N extends Float32Array | Int32Array = Float32Array>(tensor: tf.Tensor): N
  /** Whether a cut along a tensor's first axis shares its memory, so that a layer's experts may lie in one stack. */
  cutsShareMemory: boolean
}

export interface Processor {
  /** How many threads compute. */
  threads: number
  /** As `MachineDescription.cpuFeatures` names them. */
  features: readonly string[]
  /** Whether it multiplies tiles of bfloat16 for us: many rows then take weights as they are held. */
  tiles: boolean
  /** Whether it multiplies pairs of bfloat16 for us: many rows that may be rounded then take weights as they are held. */
  pairs: boolean
}

/** The active backend. */
export function backend(): Backend {
  const node = tensorflow()
  const onCard = node?.isUsingGpuDevice === true
  const loadedWith = onCard ? undefined : node?.loadedWith
  const processor = loadedWith && {
    threads: loadedWith.threads.threads,
    features: loadedWith.cpuFeatures,
    tiles: node!.binding.hasTiles(),
    pairs: node!.binding.hasPairs(),
  }
  return {
    name: tf.getBackend(),
    tensorflow: node,
    get ops() {
      return node && tensorflowOps(node)
    },
    onCard,
    processor: processor ?? null,
    read: (tensor) => tensor.dataSync() as never,
    cutsShareMemory: node !== null,
  }
}
