import type { MachineReadings } from '../src/device/index.ts'
import { type MemoryLimit, memoryProblem } from '../src/device/memory.ts'
import type { Executor, LoadedModel } from '../src/load-model.ts'
import { measureBreakdown } from './breakdown.ts'
import { measureCapacity } from './capacity.ts'
import type { Case } from './cases.ts'
import { describeVariants, layerCase, layerCaseFacts, type RandomLayer, randomLayer } from './layer-cases.ts'
import { measureLoading } from './loading.ts'
import { leftOut, measureCase } from './measure.ts'
import type { MeasuredModel } from './measured-model.ts'
import { layerBytes } from './memory.ts'
import { describeModelVariants, modelCase, modelCaseFacts, touchedAtMost } from './model-cases.ts'
import type { BenchText } from './model-text.ts'
import type { Plan, PlannedLayer, PlannedModel } from './plan.ts'
import { NOMINAL_SECONDS, type PresetPlan } from './presets.ts'
import type { Task, TaskTime } from './schedule.ts'
import type { SamplingLimits } from './timing.ts'
import { measureTracing } from './tracing.ts'
import type { Breakdown, CapacityRow, LayerDims, Loading, Row, TracingCost } from './types.ts'

/** What has been measured so far. */
export interface Findings {
  rows: Row[]
  breakdown: Breakdown[]
  capacity: CapacityRow[]
  loading: Loading | null
  tracing: TracingCost | null
}

/** What tasks work with. */
export interface Bench {
  preset: PresetPlan
  plan: Plan
  dims: LayerDims
  model: LoadedModel
  measured: MeasuredModel
  text: BenchText
  /** The first is the one that conclusions are about. */
  executors: readonly Executor[]
  machine: MachineReadings
  memory: MemoryLimit
  seed: number
  signal: AbortSignal
  /** Instead of what the schedule gives. */
  limits?: SamplingLimits
}

/** The bench as tasks that fill `findings`: the most telling first, since a person may not wait for the end. */
export function makeTasks(bench: Bench, layers: Layers, findings: Findings): Task[] {
  const { plan } = bench
  const [sweep, otherLayers] = split(plan.layers, ({ dims, routing }) => {
    return dims === bench.dims && routing === 'real'
  })
  const [firstModels, otherModels] = split(plan.models, ({ batch, context }) => {
    return batch === 1 && context === plan.baseContext
  })
  const ofModel = (planned: PlannedModel) => modelTask(bench, planned, findings)
  const ofLayer = (planned: PlannedLayer) => layerTask(bench, layers, planned, findings)
  return [
    ...firstModels.map(ofModel),
    ...sweep.map(ofLayer),
    ...detailTasks(bench, layers, findings),
    ...otherModels.map(ofModel),
    ...otherLayers.map(ofLayer),
  ]
}

function modelTask(bench: Bench, planned: PlannedModel, { rows }: Findings): Task {
  const { measured, text, executors, preset, plan, seed } = bench
  const { kind, batch, context } = planned
  const { config } = measured
  const options = { batch, context, steps: plan.steps, executors, twins: preset.twins, seed }
  return {
    what: `model, ${kind}, batch ${batch}, context ${context}`,
    seconds: NOMINAL_SECONDS.model,
    run: async (time) => {
      const started = performance.now()
      rows.push(...(await measuredAndFreed(bench, modelCase(measured, text, kind, options), time, started)))
    },
    leaveOut: (why) => {
      const facts = modelCaseFacts(config, kind, options)
      const touched = touchedAtMost(config, facts.tokens)
      rows.push(...leftOut(facts, describeModelVariants(config, kind, options, touched), why))
    },
  }
}

function layerTask(bench: Bench, layers: Layers, planned: PlannedLayer, { rows }: Findings): Task {
  const { executors: all, seed } = bench
  const { dims, T, routing, twins, inGrid } = planned
  const executors = inGrid ? all.slice(0, 1) : all
  const options = { T, routing, executors, twins, seed: seed + T }
  const { D, H, E, K } = dims
  const leaveOut = (why: string) => {
    const touched = Math.min(E, T * K) // at most: without a layer nobody has routed
    rows.push(...leftOut(layerCaseFacts(dims, options), describeVariants(dims, options, touched), why))
  }
  return {
    what: `layer, D=${D} H=${H} E=${E} K=${K} T=${T} ${routing}`,
    seconds: NOMINAL_SECONDS[inGrid ? 'grid' : 'layer'] * (T > SMALL ? 2 : 1),
    run: async (time) => {
      const started = performance.now()
      const problem = await layers.using(dims, async (layer) => {
        rows.push(...(await measuredAndFreed(bench, layerCase(layer, options), time, started)))
      })
      if (problem !== null) leaveOut(problem)
    },
    leaveOut,
  }
}

/** Up to this many tokens a case of a layer needs no more time than others. */
const SMALL = 256

function detailTasks(bench: Bench, layers: Layers, findings: Findings): Task[] {
  const { plan, preset, dims, model, text, seed, signal } = bench
  const T = plan.sideTokens
  const detail = (
    what: string,
    seconds: number,
    measure: (limits: SamplingLimits) => Promise<void>,
  ): Task => ({
    what,
    seconds,
    run: ({ budgetMs }) => measure(bench.limits ?? { ...preset.sampling, budgetMs }),
    leaveOut: () => {}, // nothing stands in its place, and a remark says so
  })
  const onLayer = (work: (layer: RandomLayer) => Promise<void>) => layers.using(dims, work).then(() => {})
  return [
    ...[...new Set([1, T])].map((tokens) =>
      detail(`parts of a sparse dispatch, T=${tokens}`, NOMINAL_SECONDS.breakdown, (limits) =>
        onLayer(async (layer) => {
          const found = await measureBreakdown(layer, tokens, seed + tokens, limits, signal)
          if (found) findings.breakdown.push(found)
        }),
      ),
    ),
    ...preset.capacity.routings.map((routing) =>
      detail(`layer with limited capacity, ${routing}`, NOMINAL_SECONDS.capacity, (limits) =>
        onLayer(async (layer) => {
          const options = { T, routing, factors: preset.capacity.factors, seed: seed + T }
          findings.capacity.push(...(await measureCapacity(layer, options, limits, signal)))
        }),
      ),
    ),
    detail('tracing', NOMINAL_SECONDS.tracing, async (limits) => {
      const { baseContext: context, steps } = plan
      findings.tracing = await measureTracing(model, text, { context, steps }, limits, signal)
    }),
    detail(
      'loading the model in other processes',
      NOMINAL_SECONDS.load * preset.loads,
      async ({ budgetMs }) => {
        findings.loading = await measureLoading(model, preset.loads, budgetMs, signal)
      },
    ),
  ]
}

/** The fewest samples of a case's variants may take this many times its share of the time. */
const TOO_LONG = 1.5

/** Measures a case in what is left of its time after making it, which began at `started`. */
async function measuredAndFreed(
  bench: Bench,
  work: Case,
  { budgetMs, mostMs }: TaskTime,
  started: number,
): Promise<Row[]> {
  const { preset, machine, memory, seed, signal } = bench
  const left = Math.max(0, budgetMs - (performance.now() - started))
  const limits = bench.limits ?? { ...preset.sampling, budgetMs: left }
  const most = bench.limits
    ? { tellingMs: Number.POSITIVE_INFINITY, allMs: Number.POSITIVE_INFINITY }
    : { tellingMs: mostMs, allMs: TOO_LONG * left }
  try {
    return await measureCase(work, { limits, most, machine, memory, seed, signal })
  } finally {
    work.dispose()
  }
}

/** Random layers: the one of the base sizes is kept, since most cases are about it; others live as long as their case. */
export class Layers {
  private base: RandomLayer | undefined

  constructor(
    private readonly dims: LayerDims,
    private readonly seed: number,
    private readonly memory: MemoryLimit,
  ) {}

  /** Why there is no room for the layer, or null when the work is done. */
  async using(dims: LayerDims, work: (layer: RandomLayer) => Promise<void>): Promise<string | null> {
    const isBase = dims === this.dims
    const known = isBase ? this.base : undefined
    const problem = known ? null : memoryProblem(layerBytes(dims), this.memory)
    if (problem !== null) return problem
    const layer = known ?? randomLayer(dims, this.seed)
    if (isBase) this.base = layer
    try {
      await work(layer)
      return null
    } finally {
      if (!isBase) layer.dispose()
    }
  }

  dispose(): void {
    this.base?.dispose()
    this.base = undefined
  }
}

function split<T>(list: T[], first: (item: T) => boolean): [T[], T[]] {
  return [list.filter(first), list.filter((item) => !first(item))]
}
