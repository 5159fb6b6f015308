import { WIDTH_NAMES, type Width } from '../src/cost/widths.ts'
import { CASE_KINDS, type CaseKind, type LayerDims, type Preset, type RoutingKind } from './schema.ts'
import type { SamplingLimits } from './timing.ts'

/** What a preset measures. */
export interface PresetPlan {
  /** In all, peers not included; null: as long as it takes. */
  seconds: number | null
  layer: LayerDims
  /** T of the layer sweep. */
  tokens: number[]
  /** The other sweeps of the layer run at the largest T of the sweep that is not above this. */
  sideTokens: number
  /** What E, D and H are multiplied with, one at a time, and the K to try. */
  sides: { E: number[]; D: number[]; H: number[]; K: number[] }
  routings: RoutingKind[]
  /** The least T of the sweep once more, each call behind another like it. */
  fromCache: boolean
  /** Every combination of these, where a preset has the time. */
  grid: { T: number[]; E: number[]; K: number[]; D: number[]; H: number[] } | null
  kinds: readonly CaseKind[]
  /** What the model is held in, one after the other. */
  widths: readonly Width[]
  /** Parts, capacity, loading and tracing too. */
  details: boolean
  /** Recorded and eager, where the device has both; else only the usual one. */
  bothExecutors: boolean
  twins: boolean
  /** Sequences of a prefill or decode, at the base context; and contexts of one sequence. */
  batches: number[]
  contexts: number[]
  baseContext: number
  capacity: { factors: (number | null)[]; routings: RoutingKind[] }
  /** Processes that load the model. */
  loads: number
  sampling: Omit<SamplingLimits, 'budgetMs'>
}

const NO_SIDES = { E: [], D: [], H: [], K: [] }
const FACTORS = [1, 1.25, 1.5, 2, null]

const DEFAULT: PresetPlan = {
  seconds: 180,
  layer: { D: 512, H: 1024, E: 16, K: 2 },
  tokens: [1, 16, 256, 1024],
  sideTokens: 256,
  sides: { E: [1 / 4, 1 / 2, 2, 4], D: [1 / 2, 2], H: [1 / 2, 2], K: [1, 4, 8] },
  routings: ['uniform', 'worst'],
  fromCache: true,
  grid: null,
  kinds: CASE_KINDS,
  widths: WIDTH_NAMES,
  details: true,
  bothExecutors: true,
  twins: true,
  batches: [1, 4, 8],
  contexts: [32, 512],
  baseContext: 128,
  capacity: { factors: FACTORS, routings: ['real', 'worst'] },
  loads: 3,
  sampling: { minSamples: 5, maxSamples: 200 },
}

export const PRESET_PLANS: Record<Preset, PresetPlan> = {
  quick: {
    ...DEFAULT,
    seconds: 30,
    widths: [],
    sides: NO_SIDES,
    bothExecutors: false,
    twins: false,
    batches: [1],
    contexts: [],
    capacity: { factors: [1, 1.5, null], routings: ['real'] },
    loads: 1,
    sampling: { minSamples: 5, maxSamples: 50 },
  },
  default: DEFAULT,
  full: {
    ...DEFAULT,
    seconds: null,
    tokens: [1, 4, 16, 64, 256, 1024, 4096],
    sides: { E: [1 / 4, 1 / 2, 2, 4, 8], D: [1 / 4, 1 / 2, 2, 4], H: [1 / 4, 1 / 2, 2, 4], K: [1, 4, 8, 16] },
    grid: { T: DEFAULT.tokens, E: [4, 16, 64], K: [1, 2, 8], D: [256, 512, 1024], H: [256, 1024, 2048] },
    batches: [1, 2, 4, 8, 16],
    contexts: [16, 32, 64, 256, 512, 960],
    loads: 5,
  },
  gpu: {
    ...DEFAULT,
    seconds: 900,
    layer: { D: 4096, H: 14336, E: 8, K: 2 }, // a layer of Mixtral-8x7B
    tokens: [1, 64, 1024, 8192, 65_536],
    sideTokens: 8192,
    sides: { E: [2, 4], D: [1 / 2], H: [1 / 4], K: [1, 4] },
    batches: [1, 8, 64],
    contexts: [512],
    fromCache: false, // no card's cache holds such weights
    capacity: { factors: FACTORS, routings: ['real'] },
  },
  'gpu-smoke': {
    ...DEFAULT,
    seconds: 170,
    layer: { D: 4096, H: 14336, E: 8, K: 2 },
    tokens: [1, 64, 4096],
    sideTokens: 4096,
    sides: NO_SIDES,
    routings: [],
    fromCache: false,
    bothExecutors: false,
    twins: false,
    batches: [1],
    contexts: [],
    kinds: ['layer', 'decode'],
    widths: [],
    details: false,
    sampling: { minSamples: 5, maxSamples: 50 },
  },
}

/** What tasks would like to have; a schedule gives them more or less. */
export const NOMINAL_SECONDS = {
  layer: 4,
  grid: 1,
  model: 4,
  width: 8,
  breakdown: 1.5,
  capacity: 3,
  tracing: 3,
  load: 2.5,
} as const
