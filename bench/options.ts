import type { Dtype } from '../src/backend/dtypes.ts'
import type { Width } from '../src/cost/widths.ts'
import type { MemoryLimit } from '../src/device/memory.ts'
import type { Executor } from '../src/model/ways.ts'
import type { LayerChoice } from './like.ts'
import type { PresetPlan } from './presets.ts'
import type { BenchReport, CaseKind, Preset } from './schema.ts'
import type { SamplingLimits } from './timing.ts'

export interface BenchOptions {
  device?: string
  debug?: boolean
  preset: Preset
  /** A checkpoint directory. */
  model: string
  /** What weights are multiplied in, by recorded graphs. */
  dtype: Dtype
  /** How forwards and layers run; left out: both ways where the device has both. */
  executor?: Executor
  /** Bytes of the model's experts that may be in memory, while the others stay on disk; left out: all are in memory. */
  expertsOnDisk?: number
  /** The one kind of case to measure; left out: all. */
  only?: CaseKind
  /** What to hold the model in for the case `width`; left out: as the preset says, or all where only that is measured. */
  widths?: readonly Width[]
  /** T of each case of the layer sweep; null: the preset's. */
  tokens: number[] | null
  /** The layer's sizes; null: the preset's. */
  layer: LayerChoice | null
  /** Python with torch and transformers that times the same layer and model, or null for no such peers. */
  python: string | null
  /** llama.cpp's bench and a model file, or null. */
  llamaBench: { binary: string; gguf: string } | null
  /** Sparse has to be this many times as fast as dense at the largest T; null: nothing is asked. */
  assertFactor: number | null
}

export interface BenchHooks {
  /** Ends the bench after the current run; the report then holds what was done. */
  signal: AbortSignal
  /** Told what comes next, with the share (0..1) of the time that is gone. */
  onProgress(share: number, what: string): void
  /** Given what is known so far behind each case, so that a run that is cut off still says something. */
  onPart?(report: BenchReport): void
  /** Told before a long run how long it will take. */
  onNotice?(text: string): void
  /** Told of a child process that a signal ended. */
  onDeath?(sentence: string): void
  /** For reports of another time: what every case gets, however long its fewest samples take. */
  limits?: SamplingLimits
  /** For reports of another extent: instead of what the preset says. */
  extent?: Partial<PresetPlan>
  /** What tensors may take; default: as the device or system tells. */
  memory?: MemoryLimit
}
