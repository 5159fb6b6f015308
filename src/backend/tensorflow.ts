import * as tf from '@tensorflow/tfjs-core'
import type { Held } from './holding.ts'
import type { FusedCall } from './kernels.ts'

/** tfjs-node's backend, the one object through which TensorFlow is reached: what tfjs' own interface does not say of it. */
export interface TfjsNode extends tf.KernelBackend {
  isUsingGpuDevice: boolean
  binding: Record<`TF_ATTR_${'TYPE' | 'INT' | 'BOOL' | 'FLOAT' | 'STRING' | 'SHAPE'}`, number> &
    Record<`TF_${'FLOAT' | 'INT32' | 'BOOL'}`, number> &
    NativeSessions &
    NativeMemory & {
      TF_Version: string
      deleteTensor(id: number): void
      createTensor(shape: number[], dtype: number, values: Numbers): number
      executeOp(op: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[]
    }
  tensorMap: { get(dataId: object): TensorData; set(dataId: object, data: TensorData): void }
  createOutputTensor(metadata: TensorMetadata): tf.Tensor
  /** TensorFlow's ids of tensors; those that were on the host only are given to it now. */
  getInputTensorIds(tensors: tf.Tensor[]): number[]
  executeSingleOutput(op: string, attributes: OpAttribute[], inputs: tf.Tensor[]): tf.Tensor
  executeMultipleOutputs(
    op: string,
    attributes: OpAttribute[],
    inputs: tf.Tensor[],
    count: number,
  ): tf.Tensor[]
  /** Left by tinymoe when it loads TensorFlow, which reads the number of threads once. */
  loadedWith?: { threads: { threads: number; reason: string }; cpuFeatures: readonly string[] }
  /** The weights that are held in fewer bits than they are computed with, by `dataId`. */
  held?: WeakMap<object, Held>
  /** There while a run is being recorded: told of steps that have run, and of the kernel that makes the same of them. */
  onFused?(kernel: FusedCall, output: tf.Tensor): void
  /** Likewise: told that tensors have their numbers only once a supplier was called with these indices. */
  onDemand?(tensors: tf.Tensor[], indices: tf.Tensor, supplier: number): void
}

/** What tfjs-node knows of a tensor: its numbers while they are on the host only, then TensorFlow's id of it. */
export interface TensorData {
  values: Numbers | null
  id: number
  shape: number[]
  dtype: number
  refCount: number
}

/** A tensor that an op made. */
export interface TensorMetadata {
  id: number
  shape: number[]
  dtype: number
}

export type Numbers = Float32Array | Int32Array | Uint8Array | Uint16Array

/** What a graph gave, on the host. bfloat16 and float16 are 16 bits each. */
export interface HostNumbers<N extends Numbers = Numbers> {
  data: N
  shape: number[]
}

declare const session: unique symbol
declare const run: unique symbol
/** A session of src/native/session.cc, and what a run of it feeds and fetches. */
export type NativeSession = { [session]: true }
export type NativeRun = { [run]: true }

/** The functions of src/native/session.cc. A graph's places are `node` or `node:output`. */
interface NativeSessions {
  openSession(config: Uint8Array): NativeSession
  extendSession(session: NativeSession, graphDef: Uint8Array, prefix: string): void
  prepareRun(session: NativeSession, feeds: string[], fetches: string[], targets: string[]): NativeRun
  /**
   * A number is TensorFlow's id of a tensor, whose memory is shared on a processor. `served`: nodes of it call suppliers from other
   * threads.
   */
  run(run: NativeRun, values: (Numbers | number)[], served: boolean): HostNumbers[]
  /** Feeds what one run fetches to the other; on a processor they then share its memory. */
  pipe(from: NativeRun, to: NativeRun): void
  closeSession(session: NativeSession): void
  /** Whether kernels multiply many rows with weights, as they are held, by the processor's tiles (src/native/tiles.h). */
  hasTiles(): boolean
  /** Whether kernels multiply many rows that may be rounded to bfloat16 by pairs (src/native/pairs.h). */
  hasPairs(): boolean
}

/** The functions of src/native/demand.cc. */
interface NativeMemory {
  /** A number by which the nodes `TinymoeDemand` of graphs call a function of JavaScript's. */
  addSupplier(supply: (indices: Int32Array) => void): number
  removeSupplier(supplier: number): void
  /** Zeros that take no memory before they are written to. */
  reserveMemory(bytes: number): ArrayBuffer
  /** Makes room for a part of them that is about to be written to: faster than doing so bit by bit. */
  claimMemory(part: Uint8Array): void
  /** Gives back what a part of them takes, but for pages that are not all in it. */
  forgetMemory(part: Uint8Array): void
}

export interface OpAttribute {
  name: string
  type: number
  value: unknown
}

/** TensorFlow, if it is loaded, whatever backend is the active one. */
export function loadedTensorflow(): TfjsNode | null {
  return tf.findBackend('tensorflow') as TfjsNode | null
}

/** TensorFlow, if it is the active backend. */
export function tensorflow(): TfjsNode | null {
  return tf.getBackend() === 'tensorflow' ? (tf.backend() as TfjsNode) : null
}

/** @throws Error where something else is the active backend: a graph cannot be recorded or run there */
export function activeTensorflow(): TfjsNode {
  const node = tensorflow()
  if (!node) throw new Error('recording: needs the TensorFlow backend')
  return node
}

/** Whether this TensorFlow has oneDNN's kernels under names that a graph can give. */
export function hasOneDnn(): boolean {
  return process.platform === 'linux' && process.arch === 'x64'
}
