import { z } from 'zod'
import { DEVICES } from './types.ts'

/** One device that was considered: taken, or why not. */
const candidate = z.object({
  device: z.enum(DEVICES),
  taken: z.boolean(),
  /** One sentence: what made it fit, or the cause and the remedy. */
  reason: z.string(),
})

/** What was chosen, why, and on what: printed by `doctor` and stored with every measurement. Unknown is null. */
export const runtimeSchema = z.object({
  device: z.enum(DEVICES),
  /** tfjs backend that serves the device: 'tensorflow', 'wasm' or 'cpu'. */
  backend: z.string(),
  reason: z.string(),
  candidates: z.array(candidate),
  /** Name of the GPU or processor the work runs on. */
  deviceName: z.string().nullable(),
  /** Bytes: of the card for cuda, of the machine otherwise. */
  memoryBytes: z.number().nullable(),
  driver: z.string().nullable(),
  computeCapability: z.string().nullable(),
  tensorflowVersion: z.string().nullable(),
  tfjsVersion: z.string(),
  nodeVersion: z.string(),
  platform: z.string(),
  cpuModel: z.string().nullable(),
  cpuFeatures: z.array(z.string()),
  /** Of TensorFlow's ops. */
  threads: z.int().min(0),
  /** Who said so; absent in reports of versions before it was told. */
  threadsReason: z.string().optional(),
})

export type Candidate = z.infer<typeof candidate>
export type RuntimeReport = z.infer<typeof runtimeSchema>

/** The compute capability of cards from which on they multiply TensorFloat-32 and bfloat16 (Ampere). */
export const AMPERE = 8

/** A prepared device. The tfjs engine is global to the process, so only one runtime is active at a time. */
export interface Runtime {
  readonly report: RuntimeReport
}
