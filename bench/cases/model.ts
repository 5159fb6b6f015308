import * as tf from '@tensorflow/tfjs-core'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { windowOf } from '../../src/cost/attention.ts'
import {
  BYTES_PER_WEIGHT,
  countParameters,
  type ForwardShape,
  forwardFlops,
  forwardWeightBytes,
  totalFlops,
} from '../../src/cost/index.ts'
import { meanColumnsMet } from '../../src/model/attention/mask.ts'
import {
  type AttentionShape,
  type ModelConfig,
  mixturesOf,
  type RouterConfig,
} from '../../src/model/config.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import type { Executor } from '../../src/model/ways.ts'
import { expertsOnDisk, readsSince, sumOfReads } from '../../src/model/weights.ts'
import { NOMINAL_SECONDS } from '../presets.ts'
import { type Dispatch, isTwin } from '../schema.ts'
import {
  type Case,
  type CaseFacts,
  type Described,
  type OpenVariant,
  type PlannedCase,
  type Variant,
  type VariantChoice,
  variantsFor,
} from './case.ts'
import { type MeasuredModel, PromptCaches, TwinModel, twinBytes, twinConfig } from './measured-model.ts'
import { modelBytes } from './memory.ts'
import type { BenchText } from './model-text.ts'
import { spreadOf } from './routing.ts'

/** Tokens a sequence that one timed decode run adds, one call each; fewer for a model of few positions. */
export const DECODE_STEPS = 16
/** Steps before them, untimed: the first moves the cache to where the executor keeps it. */
export const UNTIMED_STEPS = 1

export type ModelKind = 'prefill' | 'decode'

/** One case of the plan. */
export interface PlannedModel {
  kind: ModelKind
  /** Sequences, all of the same length. */
  batch: number
  /** Tokens of each prompt: what prefill reads, and what decode finds in its cache. */
  context: number
}

export interface ModelCaseOptions extends Omit<PlannedModel, 'kind'>, VariantChoice {
  /** Calls of one timed decode run. */
  steps: number
  dtype: Dtype
  seed: number
}

export function plannedModel(
  { kind, batch, context }: PlannedModel,
  { model, text, baseContext, steps, executors, twins, dtype, seed }: ModelBench,
): PlannedCase {
  const options = { batch, context, steps, executors, twins, dtype, seed }
  const facts = modelCaseFacts(model.config, kind, options)
  return {
    facts,
    what: `model, ${kind}, batch ${batch}, context ${context}`,
    seconds: NOMINAL_SECONDS.model,
    telling: batch === 1 && context === baseContext,
    describe: () => {
      const most = mixtures(model.config).map(({ numExperts, topK }) =>
        Math.min(numExperts, facts.tokens * topK),
      )
      return describeVariants(model.config, kind, options, most)
    },
    make: async (measure) => {
      await measure(modelCase(model, text, kind, options))
      return null
    },
  }
}

/** What all cases of the model share. */
export interface ModelBench extends Omit<ModelCaseOptions, 'batch' | 'context'> {
  model: MeasuredModel
  text: BenchText
  baseContext: number
}

export function modelGroup(
  kind: ModelKind,
  { batch, context }: Pick<PlannedModel, 'batch' | 'context'>,
): string {
  return `${kind}/B${batch}/S${context}`
}

/** What a case is, before anything is made for it. */
function modelCaseFacts(config: ModelConfig, kind: ModelKind, options: ModelCaseOptions): CaseFacts {
  const { batch } = options
  const shapes = shapesOf(kind, options)
  return {
    group: modelGroup(kind, options),
    kind,
    routing: 'real',
    dims: null,
    tokens: shapes[0].tokens,
    batch,
    context: kind === 'prefill' ? options.context : mostKeys(config, shapes[Math.floor(shapes.length / 2)]),
    callsPerRun: shapes.length,
    readBy: 'whole',
    fromCache: false,
  }
}

/**
 * The variants of a case, with what is known of them before anything is made. `touched`: experts that a sparse call
 * touches, an entry a mixture layer.
 */
function describeVariants(
  config: ModelConfig,
  kind: ModelKind,
  options: ModelCaseOptions,
  touched: number[],
): Described[] {
  const shapes = shapesOf(kind, options)
  const assignments = shapes[0].tokens * Math.max(0, ...mixtures(config).map(({ topK }) => topK))
  return variantsFor(assignments, options).map(([dispatch, executor]) => ({
    dispatch,
    executor,
    ...costOf(config, shapes, dispatch, touched, options.dtype),
    weightSets: 1, // as it is used: one model, call after call
    bytes:
      modelBytes(config, { ...shapes[0], context: mostKeys(config, shapes[0]) }, dispatch, executor) +
      (isTwin(dispatch) ? twinBytes(config, dispatch) : 0),
  }))
}

/** The calls of one run: whole prompts from an empty cache, or one token a sequence behind prompts. */
interface Calls {
  /** Read into a fresh cache before each run; null: there is no cache. */
  prompts: number[][] | null
  untimed: number[][][]
  timed: number[][][]
}

function callsOf(text: BenchText, kind: ModelKind, { batch, context, steps }: ModelCaseOptions): Calls {
  if (kind === 'prefill') return { prompts: null, untimed: [], timed: [text.sequences(batch, context)] }
  const count = UNTIMED_STEPS + steps
  const ids = text.sequences(batch, context + count)
  const calls = Array.from({ length: count }, (_, s) => ids.map((own) => [own[context + s]]))
  return {
    prompts: ids.map((own) => own.slice(0, context)),
    untimed: calls.slice(0, UNTIMED_STEPS),
    timed: calls.slice(UNTIMED_STEPS),
  }
}

/**
 * Prefill: whole prompts, logits of each one's last token read. Decode: one token a sequence and call through the cache, as
 * generating does, but along a given text.
 */
export function modelCase(
  model: MeasuredModel,
  text: BenchText,
  kind: ModelKind,
  options: ModelCaseOptions,
): Case {
  const calls = callsOf(text, kind, options)
  const { spread, touched, logits } = routingOf(model.eager, calls)
  const described = describeVariants(model.config, kind, options, touched)
  return {
    ...modelCaseFacts(model.config, kind, options),
    spread,
    variants: variantsOf(model, text, kind, options, described),
    read: () => logits.dataSync(),
    dispose: () => logits.dispose(),
  }
}

/** The work of a case on a model that may hold the same weights in another width. */
export function variantsOf(
  model: MeasuredModel,
  text: BenchText,
  kind: ModelKind,
  options: ModelCaseOptions,
  described: readonly Described[],
): Variant[] {
  const calls = callsOf(text, kind, options)
  return described.map((one) => ({ ...one, open: () => openVariant(model, calls, one, options.seed) }))
}

function openVariant(
  model: MeasuredModel,
  calls: Calls,
  { dispatch, executor }: Described,
  seed: number,
): OpenVariant {
  const twin = isTwin(dispatch) ? new TwinModel(model.eager, dispatch, seed, model.dtype) : undefined
  const of = twin ?? model
  const caches = calls.prompts ? new PromptCaches(of.eager, calls.prompts) : undefined
  const by = isTwin(dispatch) ? {} : { dispatch } // a twin has nothing to dispatch
  const take = (some: number[][][], how: Executor) => {
    for (const tokens of some) {
      const { logits } = of.forward(tokens, how, { ...by, cache: caches?.current, logits: 'last' })
      logits.dataSync()
      logits.dispose()
    }
  }
  const runBy = (how: Executor) => ({
    prepare: () => {
      caches?.fresh()
      take(calls.untimed, how)
    },
    run: () => take(calls.timed, how),
  })
  const plain = runBy('eager')
  const onDisk = expertsOnDisk(of.eager.weights)
  const reads = { hits: 0, misses: 0, bytes: 0 }
  const usual = runBy(executor)
  return {
    ...usual,
    ...(onDisk.length > 0 && {
      reads,
      run: () => {
        const before = onDisk.map((experts) => ({ ...experts.reads }))
        usual.run()
        Object.assign(reads, sumOfReads([reads, ...onDisk.map((one, i) => readsSince(one, before[i]))]))
      },
    }),
    ...(executor === 'eager' ? {} : { preparePlain: plain.prepare, plain: plain.run }),
    dispose: () => {
      caches?.dispose()
      twin?.dispose()
    },
  }
}

/** A call of a run; how many keys it meets depends on the layer. */
type CallShape = Omit<ForwardShape, 'dispatch' | 'context'> & { context(attention: AttentionShape): number }

/** Shape of each call of one run. */
function shapesOf(kind: ModelKind, { batch, context, steps }: ModelCaseOptions): CallShape[] {
  if (kind === 'prefill') {
    const keys = (attention: AttentionShape) =>
      meanColumnsMet(context, { slidingWindow: windowOf(attention) })
    return [{ tokens: batch * context, context: keys, logitRows: batch }]
  }
  return Array.from({ length: steps }, (_, step) => ({
    tokens: batch,
    // The cache keeps W - 1 columns.
    context: (attention: AttentionShape) =>
      Math.min(context + UNTIMED_STEPS + step, (windowOf(attention) ?? Number.POSITIVE_INFINITY) - 1) + 1,
    logitRows: batch,
  }))
}

/** Keys that a query of the call meets in the layer where it meets most. */
function mostKeys({ layers }: ModelConfig, { context }: CallShape): number {
  return Math.max(...layers.map(({ attention }) => context(attention)))
}

/** The spread over all timed calls, the experts that one call touches on average in each layer, the last call's logits. */
function routingOf(model: MoeModel, { prompts, untimed, timed }: Calls) {
  const caches = prompts ? new PromptCaches(model, prompts) : undefined
  const cache = caches?.fresh()
  const sums: Int32Array[] = []
  const touched: number[] = []
  let last: tf.Tensor | undefined
  for (const tokens of untimed) tf.dispose(model.forward(tokens, { cache, logits: 'last' }).logits)
  for (const tokens of timed) {
    last?.dispose()
    const { trace, logits } = model.forward(tokens, { cache, trace: true, logits: 'last' })
    last = logits
    trace.layers.forEach(({ tokensPerExpert }, layer) => {
      sums[layer] = tokensPerExpert.map((count, e) => count + (sums[layer]?.[e] ?? 0))
      touched[layer] =
        (touched[layer] ?? 0) + tokensPerExpert.filter((count) => count > 0).length / timed.length
    })
  }
  caches?.dispose()
  return { spread: spreadOf(sums), touched, logits: last as tf.Tensor }
}

function mixtures({ layers }: ModelConfig): RouterConfig[] {
  return mixturesOf(layers).map(({ router }) => router)
}

/** FLOPs of all calls, bytes of one. `touched`: experts that one sparse call touches, an entry a mixture layer. */
function costOf(
  config: ModelConfig,
  calls: CallShape[],
  dispatch: Dispatch,
  touched: number[],
  dtype: Dtype,
): Pick<Variant, 'flops' | 'idealSpeedup' | 'weightBytes'> {
  const flopsBy = (name: Dispatch) => {
    const [run, by] = isTwin(name) ? [twinConfig(config, name), 'dense' as const] : [config, name]
    return Math.round(
      calls.reduce((sum, shape) => sum + totalFlops(forwardFlops(run, { ...shape, dispatch: by })), 0),
    )
  }
  const all = mixtures(config).map(({ numExperts }) => numExperts)
  const { tokens } = calls[0]
  const bytes = isTwin(dispatch)
    ? forwardWeightBytes(twinConfig(config, dispatch), tokens, [])
    : forwardWeightBytes(config, tokens, dispatch === 'dense' ? all : touched)
  const { router, norms } = countParameters(config).parts // always of float32
  const weightBytes = dtype === 'float32' ? bytes : bytes / 2 + (BYTES_PER_WEIGHT / 2) * (router + norms)
  return { flops: flopsBy(dispatch), idealSpeedup: flopsBy('dense') / flopsBy(dispatch), weightBytes }
}
