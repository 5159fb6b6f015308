import type { Executor } from '../src/load-model.ts'
import type { ModelConfig } from '../src/model/config.ts'
import type { LayerCaseOptions } from './cases/layer.ts'
import { layerGroup } from './cases/layer.ts'
import { DECODE_STEPS, type ModelKind, type ModelSize, modelGroup, UNTIMED_STEPS } from './cases/model.ts'
import type { PresetPlan } from './presets.ts'
import type { LayerDims, RoutingKind, Sweep } from './schema.ts'

/** One case of a layer: which sizes, how many tokens, how routed. */
export interface PlannedLayer extends Pick<LayerCaseOptions, 'T' | 'routing' | 'twins'> {
  dims: LayerDims
  /** Only the first executor, and little time: one of very many. */
  inGrid: boolean
}

/** One case of the model. */
export interface PlannedModel extends ModelSize {
  kind: ModelKind
}

export interface Plan {
  layers: PlannedLayer[]
  models: PlannedModel[]
  sweeps: Sweep[]
  /** T of the sweeps that are not over T. */
  sideTokens: number
  /** Context and timed steps of the model's cases, less than the preset's where the model has too few positions. */
  baseContext: number
  steps: number
}

/** What a preset measures of a layer of these sizes and of a model of this config. */
export function makePlan(preset: PresetPlan, dims: LayerDims, tokens: number[], config: ModelConfig): Plan {
  const sideTokens = Math.max(...tokens.filter((T) => T <= preset.sideTokens), Math.min(...tokens))
  const layers = new Map<string, PlannedLayer>()
  const add = (planned: PlannedLayer) => {
    const group = layerGroup(planned.dims, planned.T, planned.routing)
    if (!layers.has(group)) layers.set(group, planned)
    return group
  }
  const layerSweeps = sweepsOfLayer(preset, dims, tokens, sideTokens, add)
  const { baseContext, steps } = contextFor(preset, config)
  const { models, sweeps } = casesOfModel(preset, baseContext, steps, config)
  return {
    layers: [...layers.values()],
    models,
    sweeps: [...sweeps, ...layerSweeps],
    sideTokens,
    baseContext,
    steps,
  }
}

function sweepsOfLayer(
  { sides, routings, grid, twins }: PresetPlan,
  dims: LayerDims,
  tokens: number[],
  sideTokens: number,
  add: (planned: PlannedLayer) => string,
): Sweep[] {
  const real = { routing: 'real' as RoutingKind, inGrid: false }
  const sweep = (axis: Sweep['axis'], groups: string[]): Sweep => ({ kind: 'layer', axis, groups })
  const overTokens = sweep(
    'T',
    tokens.toSorted((a, b) => a - b).map((T) => add({ dims, T, twins, ...real })),
  )
  const multiplied = (axis: 'E' | 'D' | 'H') => sides[axis].map((factor) => Math.round(dims[axis] * factor))
  const values = { E: multiplied('E'), K: sides.K, D: multiplied('D'), H: multiplied('H') }
  const overSides = (['E', 'K', 'D', 'H'] as const).flatMap((axis) => {
    const wanted = [...new Set([...values[axis], dims[axis]])].sort((a, b) => a - b)
    const changed = wanted.map((value) => ({ ...dims, [axis]: value })).filter(isLayer)
    if (changed.length < 2) return []
    return [
      sweep(
        axis,
        changed.map((other) => add({ dims: other, T: sideTokens, twins: false, ...real })),
      ),
    ]
  })
  const overRoutings = sweep(
    'routing',
    (['real', ...routings] as const).map((routing) =>
      add({ dims, T: sideTokens, routing, twins: false, inGrid: false }),
    ),
  )
  const overGrid = grid
    ? combinations(grid).map(({ T, ...other }) =>
        add({ dims: other, T, routing: 'real', twins: false, inGrid: true }),
      )
    : []
  return [
    overTokens,
    ...overSides,
    ...(overRoutings.groups.length > 1 ? [overRoutings] : []),
    ...(overGrid.length > 0 ? [sweep('grid', overGrid)] : []),
  ]
}

function combinations(grid: NonNullable<PresetPlan['grid']>): (LayerDims & { T: number })[] {
  const { T, E, K, D, H } = grid
  return E.flatMap((e) =>
    K.flatMap((k) => D.flatMap((d) => H.flatMap((h) => T.map((t) => ({ T: t, E: e, K: k, D: d, H: h }))))),
  ).filter(isLayer)
}

function isLayer({ D, H, E, K }: LayerDims): boolean {
  return Math.min(D, H, E, K) >= 1 && K <= E
}

/** The preset's context and steps, or what fits into a model of few positions. */
function contextFor(
  { baseContext }: PresetPlan,
  { maxPositionEmbeddings: most }: ModelConfig,
): { baseContext: number; steps: number } {
  const steps = Math.max(1, Math.min(DECODE_STEPS, Math.floor(most / 2) - UNTIMED_STEPS))
  return { baseContext: Math.max(1, Math.min(baseContext, most - UNTIMED_STEPS - steps)), steps }
}

function casesOfModel(
  { batches, contexts }: PresetPlan,
  base: number,
  steps: number,
  { maxPositionEmbeddings: most }: ModelConfig,
): { models: PlannedModel[]; sweeps: Sweep[] } {
  const fitting = contexts.filter((context) => context + UNTIMED_STEPS + steps <= most)
  const overContexts = [...new Set([...fitting, base])].sort((a, b) => a - b)
  const kinds = ['prefill', 'decode'] as const
  const cases = kinds.flatMap((kind): PlannedModel[] => [
    ...batches.map((batch) => ({ kind, batch, context: base })),
    ...overContexts.filter((context) => context !== base).map((context) => ({ kind, batch: 1, context })),
  ])
  const sweeps = kinds.flatMap((kind): Sweep[] => [
    { kind, axis: 'batch', groups: batches.map((batch) => modelGroup(kind, { batch, context: base })) },
    { kind, axis: 'context', groups: overContexts.map((context) => modelGroup(kind, { batch: 1, context })) },
  ])
  return { models: cases, sweeps: sweeps.filter(({ groups }) => groups.length > 1) }
}

/** The executors to measure by, the usual one first; or the one that was asked for. */
export function executorsFor(
  backend: string,
  asked: Executor | undefined,
  { bothExecutors }: Pick<PresetPlan, 'bothExecutors'>,
): Executor[] {
  if (asked) return [asked]
  if (backend !== 'tensorflow') return ['eager']
  return bothExecutors ? ['recorded', 'eager'] : ['recorded']
}
