import * as tf from '@tensorflow/tfjs-core'
import { flopsPerToken, weightBytesPerToken } from '../src/cost/index.ts'
import { countParameters, expertParameters } from '../src/cost/parameters.ts'
import { InputError } from '../src/errors.ts'
import { type LoadedModel, loadModel } from '../src/load-model.ts'
import {
  type MachineReadings,
  measureMachine,
  type RuntimeReport,
  startRuntime,
} from '../src/runtime/index.ts'
import { conclude } from './conclusion.ts'
import { gitCommit, loadAverage } from './conditions.ts'
import { layerCase, layerFacts, randomLayer } from './layer-cases.ts'
import { measureCase } from './measure.ts'
import { type BenchText, benchText, decodeCase, prefillCase } from './model-cases.ts'
import { runPeers } from './peers.ts'
import type { SamplingLimits } from './timing.ts'
import { measureTracing } from './tracing.ts'
import type { BenchOptions, BenchReport, Case, LayerDims, ModelFacts, Row } from './types.ts'

/** Weights, inputs and token ids are the same on every run and machine. */
const SEED = 1
const DEFAULT_LIMITS: SamplingLimits = { budgetMs: 12_000, minSamples: 5, maxSamples: 200 }
const QUICK_LIMITS: SamplingLimits = { budgetMs: 1_500, minSamples: 3, maxSamples: 50 }
/** Weights of the layer may take this share of the memory, or the machine would be measured while it swaps. */
const MEMORY_SHARE = 0.5

export interface BenchHooks {
  /** Ends the bench after the current run; the report then holds what was done. */
  signal: AbortSignal
  /** Told what comes next, with the share (0..1) of the cases that is done. */
  onProgress(share: number, what: string): void
  /** For reports of another time. */
  limits?: SamplingLimits
}

/**
 * Compares dense, sparse and gather on a model and on a sweep of one layer.
 * @throws InputError, CheckpointError, ConfigError or DeviceError, each one sentence
 */
export async function runBench(options: BenchOptions, hooks: BenchHooks): Promise<BenchReport> {
  const date = new Date()
  const load = loadAverage()
  const limits = hooks.limits ?? (options.quick ? QUICK_LIMITS : DEFAULT_LIMITS)
  hooks.onProgress(0, 'starting the device')
  const { report: runtime } = await startRuntime({ device: options.device, debug: options.debug })
  checkMemory(options.layer, runtime)
  hooks.onProgress(0, 'reading the machine')
  const machine = await measureMachine(options.quick ? 0.5 : 1)
  hooks.onProgress(0, 'loading the model')
  const model = await loadModel(options.model, { device: runtime.device, executor: options.executor })
  try {
    const text = checkedText(model)
    const rows = await measureCases(options, model, text, machine, limits, hooks)
    hooks.onProgress(0.95, 'tracing')
    const tracing = await measureTracing(model, text, halved(limits), hooks.signal)
    const peers = await comparePeers(options, runtime, hooks)
    return {
      format: 'tinymoe-bench',
      version: 1,
      date: date.toISOString(),
      interrupted: hooks.signal.aborted,
      seconds: (Date.now() - date.getTime()) / 1000,
      conclusion: conclude(rows),
      conditions: {
        runtime,
        dtype: 'float32',
        executor: model.executor,
        machine,
        commit: await gitCommit(),
        loadAverage: load,
        quick: options.quick,
        budgetMsPerCase: limits.budgetMs,
        seed: SEED,
      },
      model: modelFacts(model, text),
      layer: layerFacts(options.layer),
      rows,
      tracing,
      peers,
    }
  } finally {
    model.dispose()
  }
}

/** Half the time of a case. */
function halved(limits: SamplingLimits): SamplingLimits {
  return { ...limits, budgetMs: limits.budgetMs / 2 }
}

async function measureCases(
  { layer: dims, tokens }: BenchOptions,
  model: LoadedModel,
  text: BenchText,
  machine: MachineReadings,
  limits: SamplingLimits,
  { signal, onProgress }: BenchHooks,
): Promise<Row[]> {
  const layer = randomLayer(dims, SEED)
  const plan: { what: string; make: () => Case }[] = [
    { what: 'model, prefill', make: () => prefillCase(model, text) },
    { what: 'model, decode', make: () => decodeCase(model, text) },
    ...tokens.map((T) => ({ what: `layer, T=${T}`, make: () => layerCase(layer, T, SEED + T) })),
  ]
  const rows: Row[] = []
  try {
    for (const [i, { what, make }] of plan.entries()) {
      if (signal.aborted) break
      onProgress(i / plan.length, what)
      const work = make()
      try {
        rows.push(...(await measureCase(work, limits, machine.matmulGflops, signal)))
      } finally {
        work.dispose()
      }
    }
  } finally {
    layer.dispose()
  }
  return rows
}

async function comparePeers(
  { python, layer, tokens, quick }: BenchOptions,
  { threads }: RuntimeReport,
  { signal, onProgress, limits }: BenchHooks,
): Promise<BenchReport['peers']> {
  if (python === null || signal.aborted) return null
  onProgress(1, 'transformers, the same layer')
  const budgetMs = (limits ?? (quick ? QUICK_LIMITS : DEFAULT_LIMITS)).budgetMs
  return runPeers({ python, layer, tokens, threads, budgetMs, seed: SEED, signal })
}

function checkedText(model: LoadedModel): BenchText {
  if (!model.config.layers.some(({ kind }) => kind === 'moe')) {
    model.dispose()
    throw new InputError(`${model.dir}: has no layer with experts, so there is no dispatch to compare`)
  }
  return benchText(model.config, model.tokenizer, SEED)
}

function modelFacts({ config, dir }: LoadedModel, { prompt, source }: BenchText): ModelFacts {
  return {
    name: dir.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, ''),
    parameters: countParameters(config),
    flopsPerToken: flopsPerToken(config, prompt.length, 'sparse'),
    weightBytesPerToken: weightBytesPerToken(config),
    text: source,
  }
}

function checkMemory({ D, H, E }: LayerDims, { memoryBytes }: RuntimeReport): void {
  const needed = tf.util.bytesPerElement('float32') * E * expertParameters(D, H)
  if (memoryBytes === null || needed <= MEMORY_SHARE * memoryBytes) return
  const gigabytes = (bytes: number) => (bytes / 1e9).toPrecision(3)
  throw new InputError(
    `--experts ${E} --dim ${D} --hidden ${H}: the layer's weights take ${gigabytes(needed)} GB, and the device has ${gigabytes(memoryBytes)} GB`,
  )
}
