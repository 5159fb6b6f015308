import * as tf from '@tensorflow/tfjs-core'
import type { FusedCall } from './kernels.ts'

/** tfjs-node's backend, the one object through which TensorFlow is reached: what tfjs' own interface does not say of it. */
export interface TfjsNode extends tf.KernelBackend {
  isUsingGpuDevice: boolean
  binding: Record<`TF_ATTR_${'TYPE' | 'INT' | 'BOOL' | 'FLOAT' | 'STRING' | 'SHAPE'}`, number> &
    Record<`TF_${'FLOAT' | 'INT32' | 'BOOL' | 'STRING'}`, number> & {
      TF_Version: string
      createTensor(shape: number[], dtype: number, values: Uint8Array[]): number
      executeOp(op: string, attributes: OpAttribute[], inputIds: number[], outputs: number): unknown
      deleteTensor(id: number): void
      getNumOfSavedModels(): number
      /** Of src/native/binding.h: options of the sessions that this thread opens from now on; none: TensorFlow's own. */
      setSessionConfig(config: Uint8Array): void
    }
  tensorMap: { get(dataId: object): { values: ArrayBufferView | null } }
  executeSingleOutput(op: string, attributes: OpAttribute[], inputs: tf.Tensor[]): tf.Tensor
  executeMultipleOutputs(
    op: string,
    attributes: OpAttribute[],
    inputs: tf.Tensor[],
    count: number,
  ): tf.Tensor[]
  loadSavedModelMetaGraph(path: string, tags: string): number
  runSavedModel(id: number, inputs: tf.Tensor[], infos: { name: string }[], outputs: string[]): tf.Tensor[]
  deleteSavedModel(id: number): void
  /** Left by tinymoe when it loads TensorFlow, which reads the number of threads once. */
  loadedWith?: { threads: { threads: number; reason: string }; cpuFeatures: readonly string[] }
  /** There while a run is being recorded: told of steps that have run, and of the kernel that makes the same of them. */
  onFused?(kernel: FusedCall, output: tf.Tensor): void
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
