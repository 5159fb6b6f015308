import { cross } from 'd3-array'
import { WIDTH_NAMES, type Width } from '../src/cost/widths.ts'
import { InputError } from '../src/errors.ts'
import type { ModelConfig } from '../src/model/config.ts'
import type { Executor } from '../src/model/ways.ts'
import { layerGroup, type PlannedLayer } from './cases/layer.ts'
import { DECODE_STEPS, modelGroup, type PlannedModel, UNTIMED_STEPS } from './cases/model.ts'
import type { LayerSizes } from './like.ts'
import type { BenchOptions } from './options.ts'
import type { PresetPlan } from './presets.ts'
import type { Axis, CaseKind, LayerDims, Sweep } from './schema.ts'

export interface Plan {
  layers: PlannedLayer[]
  models: PlannedModel[]
  /** What the model is held in, a case of one decoded token each. */
  widths: readonly Width[]
  sweeps: Sweep[]
  /** T of the sweeps that are not over T. */
  sideTokens: number
  /** Context and timed steps of the model's cases, less than the preset's where the model has too few positions. */
  baseContext: number
  steps: number
}

/** What the person asked for in place of the preset. */
export interface Asked {
  dims: LayerDims
  /** Sizes to try, the base among them; what is not there the preset says. */
  sizes?: LayerSizes
  tokens: number[]
  /** The one kind of case; null: all. */
  only?: CaseKind | null
  widths?: readonly Width[]
}

/** What a preset measures of a layer of these sizes and of a model of this config. */
export function makePlan(preset: PresetPlan, asked: Asked, config: ModelConfig): Plan {
  const { tokens, only = null, widths = only === 'width' ? WIDTH_NAMES : preset.widths } = asked
  const sideTokens = Math.max(...tokens.filter((T) => T <= preset.sideTokens), Math.min(...tokens))
  const layers = new Map<string, PlannedLayer>()
  const add = (planned: PlannedLayer) => {
    const group = layerGroup(planned.dims, planned.T, planned.routing, planned.fromCache)
    if (!layers.has(group)) layers.set(group, planned)
    return group
  }
  const kinds = preset.kinds.filter((kind) => only === null || only === kind)
  const layerSweeps = kinds.includes('layer') ? sweepsOfLayer(preset, asked, sideTokens, add) : []
  const size = contextFor(preset, config)
  // Of one place there is no sweep, but for T: conclusions are about it.
  const hasSeveral = ({ axis, groups }: Sweep) => groups.length > 1 || axis === 'T'
  const ofModel = kinds.flatMap((kind) =>
    kind === 'prefill' || kind === 'decode' ? [casesOfModel(kind, preset, size, config)] : [],
  )
  return {
    layers: [...layers.values()],
    models: ofModel.flatMap(({ models }) => models),
    widths: only === null || only === 'width' ? WIDTH_NAMES.filter((width) => widths.includes(width)) : [],
    sweeps: [...ofModel.flatMap(({ sweeps }) => sweeps), ...layerSweeps].filter(hasSeveral),
    sideTokens,
    ...size,
  }
}

function sweepsOfLayer(
  preset: PresetPlan,
  { dims, sizes, tokens }: Asked,
  sideTokens: number,
  add: (planned: PlannedLayer) => string,
): Sweep[] {
  const off = { twins: false, inGrid: false, fromCache: false }
  const plain: PlannedLayer = { dims, T: sideTokens, routing: 'real', ...off }
  const sweep = (axis: Axis, planned: PlannedLayer[]): Sweep => {
    return { kind: 'layer', axis, groups: planned.map(add) }
  }
  const { twins, grid } = preset
  const overTokens = tokens.toSorted((a, b) => a - b).map((T) => ({ ...plain, T, twins }))
  const overSide = (axis: keyof LayerDims) => {
    const ofPreset = preset.sides[axis].map((side) => (axis === 'K' ? side : Math.round(dims[axis] * side)))
    const wanted = new Set([...(sizes?.[axis] ?? ofPreset), dims[axis]])
    return [...wanted]
      .sort((a, b) => a - b)
      .map((value) => ({ ...plain, dims: { ...dims, [axis]: value } }))
      .filter((planned) => isLayer(planned.dims))
  }
  if (preset.fromCache) add({ ...plain, T: Math.min(...tokens), fromCache: true })
  return [
    sweep('T', overTokens),
    ...(['E', 'K', 'D', 'H'] as const).map((axis) => sweep(axis, overSide(axis))),
    sweep('routing', [plain, ...preset.routings.map((routing) => ({ ...plain, routing }))]),
    sweep(
      'grid',
      (grid ? combinations(grid) : []).map((combined) => ({ ...plain, ...combined, inGrid: true })),
    ),
  ]
}

function combinations(grid: NonNullable<PresetPlan['grid']>): { dims: LayerDims; T: number }[] {
  const layers = cross(grid.E, grid.K, grid.D, grid.H).map(([E, K, D, H]) => ({ D, H, E, K }))
  return cross(layers.filter(isLayer), grid.T).map(([dims, T]) => ({ dims, T }))
}

function isLayer({ D, H, E, K }: LayerDims): boolean {
  return Math.min(D, H, E, K) >= 1 && K <= E
}

/** The preset's context and steps, or what fits into a model of few positions. */
function contextFor(
  { baseContext }: PresetPlan,
  { maxPositionEmbeddings: most }: ModelConfig,
): Pick<Plan, 'baseContext' | 'steps'> {
  const steps = Math.max(1, Math.min(DECODE_STEPS, Math.floor(most / 2) - UNTIMED_STEPS))
  return { baseContext: Math.max(1, Math.min(baseContext, most - UNTIMED_STEPS - steps)), steps }
}

function casesOfModel(
  kind: PlannedModel['kind'],
  { batches, contexts }: PresetPlan,
  { baseContext: base, steps }: Pick<Plan, 'baseContext' | 'steps'>,
  { maxPositionEmbeddings: most }: ModelConfig,
): Pick<Plan, 'models' | 'sweeps'> {
  const fitting = contexts.filter((context) => context + UNTIMED_STEPS + steps <= most)
  const overBatches = batches.map((batch) => ({ kind, batch, context: base }))
  const overContexts = [...new Set([...fitting, base])]
    .sort((a, b) => a - b)
    .map((context) => ({ kind, batch: 1, context }))
  const groupOf = (planned: PlannedModel) => modelGroup(kind, planned)
  return {
    models: [...overBatches, ...overContexts.filter(({ context }) => context !== base)],
    sweeps: [
      { kind, axis: 'batch', groups: overBatches.map(groupOf) },
      { kind, axis: 'context', groups: overContexts.map(groupOf) },
    ],
  }
}

/** The executors to measure by, the usual one first; or the one that was asked for. Op by op all is float32. */
export function executorsFor(
  backend: string,
  { executor, dtype }: Pick<BenchOptions, 'executor' | 'dtype'>,
  { bothExecutors }: Pick<PresetPlan, 'bothExecutors'>,
): Executor[] {
  if (dtype !== 'float32' && (executor === 'eager' || backend !== 'tensorflow'))
    throw new InputError(`--dtype ${dtype}: only recorded graphs on TensorFlow multiply in half precision`)
  if (executor) return [executor]
  if (backend !== 'tensorflow') return ['eager']
  return bothExecutors && dtype === 'float32' ? ['recorded', 'eager'] : ['recorded']
}
