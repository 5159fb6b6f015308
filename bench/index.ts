import { flopsPerToken, weightBytesPerToken } from '../src/cost/index.ts'
import { countParameters } from '../src/cost/parameters.ts'
import {
  type MachineReadings,
  measureMachine,
  type RuntimeReport,
  startRuntime,
} from '../src/device/index.ts'
import { gigabytes, type MemoryLimit, memoryLimit, memoryProblem } from '../src/device/memory.ts'
import { InputError } from '../src/errors.ts'
import { type LoadedModel, loadModel } from '../src/load-model.ts'
import { INTERVAL_RULE, OUTLIER_RULE } from '../src/samples.ts'
import { judge } from './assertion.ts'
import { conclude } from './conclusion.ts'
import { gitCommit, governor, loadAverage, usesTf32 } from './conditions.ts'
import { READ_WHOLE_UP_TO } from './finish.ts'
import { checkGpu } from './gpu.ts'
import { layerFacts } from './layer-cases.ts'
import type { LayerChoice } from './like.ts'
import { MeasuredModel } from './measured-model.ts'
import { caseBytes, layerBytes } from './memory.ts'
import { benchText } from './model-text.ts'
import type { BenchHooks, BenchOptions } from './options.ts'
import { measurePeers } from './peers.ts'
import { executorsFor, makePlan } from './plan.ts'
import { PRESET_PLANS } from './presets.ts'
import { mostSeconds, runTasks } from './schedule.ts'
import { type Bench, type Findings, Layers, makeTasks } from './tasks.ts'
import type { BenchReport, Conditions, LayerDims, ModelFacts } from './types.ts'

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

/** What stands before the first case. */
interface Started {
  date: Date
  load: number | null
  runtime: RuntimeReport
  machine: MachineReadings
  memory: MemoryLimit
  layer: LayerChoice
}

/**
 * Compares dense, sparse and gather, and models without experts, on a model and on sweeps of one layer.
 * @throws InputError, CheckpointError, ConfigError or DeviceError, each one sentence
 */
export async function runBench(options: BenchOptions, hooks: BenchHooks): Promise<BenchReport> {
  const begun = performance.now()
  const started = await start(options, hooks)
  hooks.onProgress(0, 'loading the model')
  const { device } = started.runtime
  const model = await loadModel(options.model, { device, executor: options.executor })
  try {
    return await measure(options, hooks, started, model, begun)
  } finally {
    model.dispose()
  }
}

async function start(options: BenchOptions, hooks: BenchHooks): Promise<Started> {
  const date = new Date()
  const load = loadAverage()
  const preset = PRESET_PLANS[options.preset]
  hooks.onProgress(0, 'starting the device')
  const { report: runtime } = await startRuntime({ device: options.device, debug: options.debug })
  if (options.preset === 'gpu') checkGpu(runtime, options.device)
  const memory = hooks.memory ?? memoryLimit(runtime)
  if (options.layer) checkLayer(options.layer.dims, memory)
  const layer = options.layer ?? { dims: preset.layer, source: `the preset ${options.preset}` }
  checkTokens(options.tokens ?? [], layer.dims, memory)
  hooks.onProgress(0, 'reading the machine')
  const machine = await measureMachine(options.preset === 'quick' ? 0.5 : 1)
  return { date, load, runtime, machine, memory, layer }
}

async function measure(
  options: BenchOptions,
  hooks: BenchHooks,
  { date, load, runtime, machine, memory, layer }: Started,
  model: LoadedModel,
  begun: number,
): Promise<BenchReport> {
  const preset = { ...PRESET_PLANS[options.preset], ...hooks.extent }
  if (!model.config.layers.some(({ kind }) => kind === 'moe')) {
    throw new InputError(`${model.dir}: has no layer with experts, so there is no dispatch to compare`)
  }
  const text = await benchText(model.config, model.tokenizer, SEED)
  const { dims } = layer
  const plan = makePlan(preset, dims, options.tokens ?? preset.tokens, model.config)
  const measured = new MeasuredModel(model.config, model.weights)
  const executors = executorsFor(runtime.backend, options.executor, preset)
  const { signal, limits } = hooks
  const common = { preset, plan, dims, model, measured, text, executors, machine, memory }
  const bench: Bench = { ...common, seed: SEED, signal, limits }
  const findings: Findings = { rows: [], breakdown: [], capacity: [], loading: null, tracing: null }
  const layers = new Layers(dims, SEED, memory)
  try {
    await runAll(bench, layers, findings, hooks, begun)
  } finally {
    layers.dispose()
    measured.dispose()
  }
  const peers = signal.aborted
    ? []
    : await measurePeers(
        options,
        { dims, tokens: options.tokens ?? preset.tokens, model, plan, seed: SEED },
        hooks,
      )
  const { rows, ...found } = findings
  const subject = { dims, executor: executors[0] }
  return {
    format: 'tinymoe-bench',
    version: 2,
    date: date.toISOString(),
    interrupted: signal.aborted,
    seconds: (performance.now() - begun) / 1000,
    conclusion: conclude(rows, subject),
    conditions: {
      runtime,
      preset: options.preset,
      dtype: 'float32',
      tf32: usesTf32(runtime),
      executor: executors[0],
      machine,
      commit: await gitCommit(),
      loadAverage: load,
      governor: governor(),
      secondsPlanned: preset.seconds,
      seed: SEED,
      method: METHOD,
    },
    model: modelFacts(model, Math.max(...plan.models.map(({ context }) => context)), text.source),
    layer: layerFacts(dims, layer.source),
    rows,
    sweeps: plan.sweeps,
    ...found,
    peers,
    assertion: options.assertFactor === null ? null : judge(rows, options.assertFactor, subject),
  }
}

async function runAll(
  bench: Bench,
  layers: Layers,
  findings: Findings,
  { signal, onProgress, onNotice }: BenchHooks,
  begun: number,
): Promise<void> {
  const tasks = makeTasks(bench, layers, findings)
  const { seconds } = bench.preset
  if (seconds === null) {
    onNotice?.(`${tasks.length} tasks, at most about ${Math.ceil(mostSeconds(tasks) / 60)} minutes`)
  }
  const end = seconds === null ? null : begun + 1000 * seconds * (1 - RESERVE)
  await runTasks(tasks, { end, signal, onProgress })
}

function modelFacts({ config, dir }: LoadedModel, context: number, text: string): ModelFacts {
  return {
    name: dir.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, ''),
    parameters: countParameters(config),
    flopsPerToken: flopsPerToken(config, context, 'sparse'),
    weightBytesPerToken: weightBytesPerToken(config),
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
