/** Where tensors are computed, best first. */
export const DEVICES = ['cuda', 'cpu', 'wasm', 'js'] as const
export type Device = (typeof DEVICES)[number]

/** One device that was considered: taken, or why not. */
export interface Candidate {
  device: Device
  taken: boolean
  /** One sentence: what made it fit, or the cause and the remedy. */
  reason: string
}

/** What was chosen, why, and on what: printed by `doctor` and stored with every measurement. Unknown is null. */
export interface RuntimeReport {
  device: Device
  /** tfjs backend that serves the device: 'tensorflow', 'wasm' or 'cpu'. */
  backend: string
  reason: string
  candidates: Candidate[]
  /** Name of the GPU or processor the work runs on. */
  deviceName: string | null
  /** Bytes: of the card for cuda, of the machine otherwise. */
  memoryBytes: number | null
  driver: string | null
  computeCapability: string | null
  tensorflowVersion: string | null
  tfjsVersion: string
  nodeVersion: string
  platform: string
  cpuModel: string | null
  cpuFeatures: string[]
  /** Of TensorFlow's ops. */
  threads: number
  /** Who said so; absent in reports of versions before it was told. */
  threadsReason?: string
}

/** A prepared device. The tfjs engine is global to the process, so only one runtime is active at a time. */
export interface Runtime {
  readonly report: RuntimeReport
}
