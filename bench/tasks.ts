import type { Dtype } from '../src/backend/dtypes.ts'
import type { MachineReadings } from '../src/device/index.ts'
import type { MemoryLimit } from '../src/device/memory.ts'
import type { LoadedModel } from '../src/load-model.ts'
import { measureBreakdown } from './cases/breakdown.ts'
import { measureCapacity } from './cases/capacity.ts'
import type { Case, PlannedCase, VariantChoice } from './cases/case.ts'
import { plannedLayer } from './cases/layer.ts'
import { measureLoading } from './cases/loading.ts'
import type { MeasuredModel } from './cases/measured-model.ts'
import { plannedModel } from './cases/model.ts'
import type { BenchText } from './cases/model-text.ts'
import type { Layers, RandomLayer } from './cases/random-layer.ts'
import { measureTracing } from './cases/tracing.ts'
import { plannedWidths } from './cases/widths.ts'
import { leftOut, measureCase } from './measure.ts'
import type { BenchHooks } from './options.ts'
import type { Plan } from './plan.ts'
import { NOMINAL_SECONDS, type PresetPlan } from './presets.ts'
import type { Task, TaskTime } from './schedule.ts'
import type { BenchReport, CaseKind, Row } from './schema.ts'
import type { SamplingLimits } from './timing.ts'

/** What has been measured so far. */
export type Findings = Pick<BenchReport, 'rows' | 'breakdown' | 'capacity' | 'loading' | 'tracing'>

/** Every case of the plan, of every kind that the bench measures: a new kind is planned in plan.ts and listed here. */
function plannedCases({ plan, ...made }: Bench): PlannedCase[] {
  return [
    ...plan.models.map((planned) => plannedModel(planned, { ...made, ...plan })),
    ...plannedWidths({ ...made, ...plan }),
    ...plan.layers.map((planned) => plannedLayer(planned, made)),
  ]
}

/** What cases are made of and tasks work with. */
export interface Bench extends VariantChoice {
  preset: PresetPlan
  plan: Plan
  loaded: LoadedModel
  model: MeasuredModel
  text: BenchText
  layers: Layers
  dtype: Dtype
  seed: number
  /** The last reading of the machine, and a new one behind a case of that name. */
  machine(): MachineReadings
  readAgain(after: string): Promise<MachineReadings>
  memory: MemoryLimit
  /** The one kind of case that was asked for; null: all. */
  only: CaseKind | null
  signal: AbortSignal
  onDeath: BenchHooks['onDeath']
  /** Instead of what the schedule gives. */
  limits?: SamplingLimits
}

/** The bench as tasks that fill `findings`: the most telling first, since a person may not wait for the end. */
export function makeTasks(bench: Bench, findings: Findings): Task[] {
  const cases = plannedCases(bench)
  const task = (planned: PlannedCase) => caseTask(bench, planned, findings.rows)
  return [
    ...cases.filter(({ telling }) => telling).map(task),
    ...(bench.preset.details ? detailTasks(bench, findings) : []),
    ...cases.filter(({ telling }) => !telling).map(task),
  ]
}

function caseTask(bench: Bench, { facts, what, seconds, describe, make }: PlannedCase, rows: Row[]): Task {
  const leaveOut = (why: string) => void rows.push(...leftOut(facts, describe(), why))
  const run = async (time: TaskTime) => {
    const started = performance.now()
    const mostMs = bench.limits
      ? Number.POSITIVE_INFINITY
      : bench.only === facts.kind
        ? time.leftMs
        : time.mostMs
    const problem = await make(
      async (work) => void rows.push(...(await measured(bench, work, time, started))),
      mostMs,
    )
    if (problem !== null) leaveOut(problem)
  }
  return { what, seconds, run, leaveOut }
}

/** The fewest samples of a case's variants may take this many times its share of the time. */
const TOO_LONG = 1.5

/** Measures a case in what is left of its time after making it, which began at `started`; then the case is gone. */
async function measured(
  { preset, machine, readAgain, memory, seed, signal, ...bench }: Bench,
  work: Case,
  { budgetMs, mostMs }: TaskTime,
  started: number,
): Promise<Row[]> {
  const { preparedMs = 0 } = work
  const left = Math.max(0, budgetMs - (performance.now() - started - preparedMs))
  const limits = bench.limits ?? { ...preset.sampling, budgetMs: left }
  const most = bench.limits
    ? { tellingMs: Number.POSITIVE_INFINITY, allMs: Number.POSITIVE_INFINITY }
    : { tellingMs: mostMs, allMs: TOO_LONG * left }
  try {
    return await measureCase(work, {
      limits,
      most,
      machine: machine(),
      readAgain: () => readAgain(work.group),
      memory,
      seed,
      signal,
    })
  } finally {
    work.dispose()
  }
}

/** Of the layer and of the model, beside their cases. Nothing stands in the place of one left out, and a remark says so. */
function detailTasks(
  { plan, preset, loaded, layers, text, seed, signal, onDeath, only, limits }: Bench,
  findings: Findings,
): Task[] {
  const T = plan.sideTokens
  const detail = (
    what: string,
    seconds: number,
    measure: (limits: SamplingLimits) => Promise<unknown>,
  ): Task => ({
    what,
    seconds,
    run: async ({ budgetMs }) => void (await measure(limits ?? { ...preset.sampling, budgetMs })),
    leaveOut: () => {},
  })
  const onLayer = (work: (layer: RandomLayer) => Promise<void>) => layers.using(layers.dims, work)
  const ofLayer = [
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
  ]
  const tracing = detail('tracing', NOMINAL_SECONDS.tracing, async (limits) => {
    const { baseContext: context, steps } = plan
    findings.tracing = await measureTracing(loaded, text, { context, steps }, limits, signal)
  })
  const loading = detail(
    'loading the model in other processes',
    NOMINAL_SECONDS.load * preset.loads,
    async ({ budgetMs }) => {
      findings.loading = await measureLoading(loaded, preset.loads, budgetMs, { signal, onDeath })
    },
  )
  return {
    all: [...ofLayer, tracing, loading],
    layer: ofLayer,
    decode: [tracing],
    prefill: [],
    width: [],
  }[only ?? 'all']
}
