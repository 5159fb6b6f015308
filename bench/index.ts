import { median } from 'd3-array'
import { BYTES_PER_WEIGHT, cachedNumbers, flopsPerToken, weightBytesPerToken } from '../src/cost/index.ts'
import { countParameters } from '../src/cost/parameters.ts'
import { cacheBytes, MachineReader, startRuntime } from '../src/device/index.ts'
import { gigabytes, type MemoryLimit, memoryLimit, memoryProblem } from '../src/device/memory.ts'
import { InputError } from '../src/errors.ts'
import { type LoadedModel, loadModel } from '../src/load-model.ts'
import { mixturesOf } from '../src/model/config.ts'
import { INTERVAL_RULE, OUTLIER_RULE } from '../src/samples.ts'
import { READ_WHOLE_UP_TO } from './cases/finish.ts'
import { MeasuredModel } from './cases/measured-model.ts'
import { caseBytes, layerBytes } from './cases/memory.ts'
import { benchText } from './cases/model-text.ts'
import { Layers, layerFacts } from './cases/random-layer.ts'
import { halfProduct } from './cases/recorded-layer.ts'
import { checkGpu } from './check-gpu.ts'
import { gitCommit, governor, loadAverage, usesTf32 } from './conditions.ts'
import type { LayerChoice } from './like.ts'
import type { BenchHooks, BenchOptions } from './options.ts'
import { measurePeers } from './peers/measure.ts'
import { executorsFor, makePlan, type Plan } from './plan.ts'
import { PRESET_PLANS } from './presets.ts'
import { judge } from './report/assertion.ts'
import { conclude } from './report/conclusion.ts'
import { mostSeconds, runTasks, type Task } from './schedule.ts'
import {
  BENCH_VERSION,
  type BenchReport,
  type Conditions,
  type LayerDims,
  type ModelFacts,
  type PeerOutcome,
  type Reading,
} from './schema.ts'
import { type Findings, makeTasks } from './tasks.ts'

export type { BenchHooks, BenchOptions } from './options.ts'

/** Weights, inputs and token ids are the same on every run and machine. */
const SEED = 1
/** Of a preset's seconds this much is kept back, for what cannot be planned. */
const RESERVE = 0.05

const METHOD: Conditions['method'] = {
  outliers: OUTLIER_RULE,
  interval: INTERVAL_RULE,
  reading: `every call ends by reading its result; of a result of more than ${READ_WHOLE_UP_TO} values, a sum over all of it`,
}

/** What one reading of the machine between two cases may take. */
const READING_SECONDS = 0.1

/**
 * Compares dense, sparse and gather, and models without experts, on a model and on sweeps of one layer.
 * @throws InputError, CheckpointError, ConfigError or DeviceError, each one sentence
 */
export async function runBench(options: BenchOptions, hooks: BenchHooks): Promise<BenchReport> {
  const started = await start(options, hooks)
  hooks.onProgress(0, 'loading the model')
  const { device } = started.runtime
  const onProgress = (share: number) => hooks.onProgress(0, `loading the model, ${Math.floor(100 * share)} %`)
  const model = await loadModel(options.model, {
    device,
    executor: options.executor,
    dtype: options.dtype,
    expertsOnDisk: options.expertsOnDisk,
    onProgress,
  })
  const reader = new MachineReader(options.dtype === 'float32' ? undefined : halfProduct(options.dtype))
  try {
    return await measure(options, hooks, started, model, reader)
  } finally {
    reader.dispose()
    model.dispose()
  }
}

/** What stands before the first case. */
async function start(options: BenchOptions, hooks: BenchHooks) {
  const begun = performance.now()
  const date = new Date()
  const load = loadAverage()
  hooks.onProgress(0, 'starting the device')
  const { report: runtime } = await startRuntime({ device: options.device, debug: options.debug })
  if (options.preset.startsWith('gpu')) checkGpu(runtime, options.device, options.preset)
  const memory = hooks.memory ?? memoryLimit(runtime)
  if (options.layer) checkLayer(options.layer.dims, memory)
  const preset = PRESET_PLANS[options.preset]
  const layer: LayerChoice = options.layer ?? { dims: preset.layer, source: `the preset ${options.preset}` }
  checkTokens(options.tokens ?? [], layer.dims, memory)
  return { begun, date, load, runtime, memory, layer }
}

async function measure(
  options: BenchOptions,
  hooks: BenchHooks,
  started: Awaited<ReturnType<typeof start>>,
  loaded: LoadedModel,
  reader: MachineReader,
): Promise<BenchReport> {
  const { runtime, memory, layer } = started
  const { config, tokenizer, weights } = loaded
  if (mixturesOf(config.layers).length === 0) {
    throw new InputError(`${loaded.dir}: has no layer with experts, so there is no dispatch to compare`)
  }
  const preset = { ...PRESET_PLANS[options.preset], ...hooks.extent }
  const { signal, limits, onDeath } = hooks
  const { only = null, dtype } = options
  const { dims } = layer
  const tokens = options.tokens ?? preset.tokens
  hooks.onProgress(0, 'reading the machine')
  const readings: Reading[] = []
  const readAgain = async (after: string) => {
    const found = await reader.read(READING_SECONDS)
    readings.push({ ...found, after })
    return found
  }
  const machine = await readAgain('')
  const cache = { cacheBytes: cacheBytes(runtime.device === 'cuda'), machine }
  const plan = makePlan(preset, { ...layer, tokens, only, widths: options.widths }, config)
  const executors = executorsFor(runtime.backend, options, preset)
  const text = await benchText(config, tokenizer, SEED)
  const model = new MeasuredModel(config, weights, dtype)
  const layers = new Layers(dims, SEED, memory, cache)
  const findings: Findings = { rows: [], breakdown: [], capacity: [], loading: null, tracing: null }
  const commit = await gitCommit()
  const reportOf = (interrupted: boolean, peers: PeerOutcome[]): BenchReport => {
    const { rows, ...found } = findings
    const conditions: Conditions = {
      runtime,
      preset: options.preset,
      dtype,
      tf32: usesTf32(runtime),
      executor: executors[0],
      expertsOnDisk: options.expertsOnDisk ?? null,
      machine: typical(readings),
      cacheBytes: cache.cacheBytes,
      commit,
      loadAverage: started.load,
      governor: governor(),
      secondsPlanned: preset.seconds,
      seed: SEED,
      method: METHOD,
    }
    const subject = { dims, executor: executors[0], machine: conditions.machine }
    return {
      format: 'tinymoe-bench',
      version: BENCH_VERSION,
      date: started.date.toISOString(),
      interrupted,
      seconds: (performance.now() - started.begun) / 1000,
      conclusion: conclude(rows, subject),
      conditions,
      model: modelFacts(loaded, plan, text.source),
      layer: layerFacts(dims, layer.source),
      rows,
      sweeps: plan.sweeps,
      ...found,
      peers,
      assertion: options.assertFactor === null ? null : judge(rows, options.assertFactor, subject),
      readings,
    }
  }
  try {
    const bench = {
      ...{ preset, plan, loaded, model, text, layers, executors, twins: preset.twins, dtype, seed: SEED },
      ...{ readAgain, memory, only, signal, onDeath, limits },
      machine: () => readings[readings.length - 1],
    }
    await runAll(makeTasks(bench, findings), preset.seconds, hooks, started.begun, () =>
      hooks.onPart?.(reportOf(true, [])),
    )
  } finally {
    layers.dispose()
    model.dispose()
  }
  const work = { dims, tokens: plan.layers.length > 0 ? tokens : [], model: loaded, plan, seed: SEED }
  const peers = signal.aborted ? [] : await measurePeers(options, work, hooks)
  return reportOf(signal.aborted, peers)
}

/** The median of each reading. */
function typical(readings: Reading[]): Conditions['machine'] {
  const { after: _, ...first } = readings[0]
  const medianOf = (name: 'matmulGflops' | 'memoryGbPerS') => median(readings, (reading) => reading[name])!
  return { ...first, matmulGflops: medianOf('matmulGflops'), memoryGbPerS: medianOf('memoryGbPerS') }
}

async function runAll(
  tasks: Task[],
  seconds: number | null,
  { signal, onProgress, onNotice }: BenchHooks,
  begun: number,
  onDone: () => void,
): Promise<void> {
  if (seconds === null) {
    onNotice?.(`${tasks.length} tasks, at most about ${Math.ceil(mostSeconds(tasks) / 60)} minutes`)
  }
  const end = seconds === null ? null : begun + 1000 * seconds * (1 - RESERVE)
  await runTasks(tasks, { end, signal, onProgress, onDone })
}

/** Costs are behind the longest prompt of its cases; without any, what decode would find. */
function modelFacts({ config, dir }: LoadedModel, { models, baseContext }: Plan, text: string): ModelFacts {
  const longest = Math.max(baseContext, ...models.map(({ context }) => context))
  const cached = cachedNumbers(config)
  return {
    name: dir.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, ''),
    parameters: countParameters(config),
    flopsPerToken: flopsPerToken(config, longest, 'sparse'),
    weightBytesPerToken: weightBytesPerToken(config),
    cacheBytesPerToken: { kept: BYTES_PER_WEIGHT * cached.kept, plain: BYTES_PER_WEIGHT * cached.plain },
    text,
  }
}

/** A layer that was asked for has to fit; one of a preset is left out with the reason. */
function checkLayer(dims: LayerDims, memory: MemoryLimit): void {
  const problem = memoryProblem(layerBytes(dims), memory)
  if (problem === null) return
  const { D, H, E } = dims
  throw new InputError(
    `--experts ${E} --dim ${D} --hidden ${H}: the layer ${problem} (its weights take ${gigabytes(layerBytes(dims) / 2)} GB)`,
  )
}

/** So has every T that was asked for, in the leanest way at least. */
function checkTokens(tokens: number[], dims: LayerDims, memory: MemoryLimit): void {
  const most = Math.max(0, ...tokens)
  const problem = memoryProblem(caseBytes(dims, most), memory)
  if (problem === null) return
  const { D, H, K } = dims
  throw new InputError(`--tokens ${most}: a case of so many in a layer of D=${D} H=${H} K=${K} ${problem}`)
}
