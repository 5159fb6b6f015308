import { type ModelShape, mixturesOf } from '../model/config.ts'
import { keysMet, meanKeysMet } from './attention.ts'
import { type CostDtype, cachedNumbers, cacheNumbers, DTYPE_BYTES, weightsRead } from './bytes.ts'
import { expectedDistinct } from './experts.ts'
import { type FlopParts, forwardFlops, scaled, totalFlops } from './flops.ts'
import { countParameters, everyExpert, parameterParts } from './parameters.ts'
import { type Comparison, countsByConvention } from './published.ts'
import { nominalTrainingFlops, trainingFlops } from './training.ts'

export interface InspectOptions {
  /** S: tokens of the prompt, and the context that a decoded token meets. */
  context: number
  /** Of the weights. */
  dtype: CostDtype
  /** T of the tables: sequences decoded together, or tokens of a batch. */
  batches: readonly number[]
}

/** Keys and values stay in 16 bits where weights are smaller. */
function cacheDtypeFor(dtype: CostDtype): CostDtype {
  return DTYPE_BYTES[dtype] < DTYPE_BYTES.bfloat16 ? 'bfloat16' : dtype
}

export type Inspection = ReturnType<typeof inspectModel>

/** All that shapes alone tell about a model. The first three fields are the fixed form of `inspect --json`. */
export function inspectModel(model: ModelShape, options: InspectOptions) {
  const { context, dtype, batches } = options
  const cacheDtype = cacheDtypeFor(dtype)
  const count = countParameters(model)
  const prefill = prefillFlops(model, context)
  const decode = decodeFlops(model, context)
  const intensityAt = (batch: number) =>
    intensity(model, options, { tokens: batch, sequences: batch, flops: batch * totalFlops(decode) })
  const one = intensityAt(1)
  const cached = cachedNumbers(model)
  const cacheWritten = DTYPE_BYTES[cacheDtype] * cached.kept
  return {
    parameters: { ...count, activeParts: parameterParts(model), byConvention: countsByConvention(model) },
    flopsPerToken: {
      context,
      /** Mean over a prompt of `context` tokens, causal, logits of its last token only. */
      prefill: withTotal(scaled(prefill, 1 / context)),
      /** The next token. */
      decode: withTotal(decode),
      /** Decode if every expert ran. */
      decodeEveryExpert: withTotal(decodeFlops(everyExpert(model), context)),
      /** Forward and backward in sequences of `context` tokens, causal. */
      training: withTotal(scaled(trainingFlops(model, context, 'causal'), 1 / context)),
    },
    /** One decoded token of one sequence. */
    bytesPerToken: {
      context,
      dtype,
      cacheDtype,
      weights: one.weightBytes,
      cacheRead: one.cacheBytes,
      cacheWritten,
      /** By plain attention, where latent attention keeps less. */
      plainCacheWritten: DTYPE_BYTES[cacheDtype] * cached.plain,
      total: one.weightBytes + one.cacheBytes + cacheWritten,
    },
    bytes: {
      allWeights: DTYPE_BYTES[dtype] * count.total,
      cachePerSequence: DTYPE_BYTES[cacheDtype] * cacheNumbers(model, context),
    },
    intensity: {
      prefill: intensity(model, options, { tokens: context, sequences: 1, flops: totalFlops(prefill) }),
      decode: batches.map((batch) => (batch === 1 ? one : intensityAt(batch))),
    },
    distinctExperts: batches.flatMap((tokens) => distinctExperts(model, tokens)),
  }
}

function withTotal(parts: FlopParts) {
  return { ...parts, total: totalFlops(parts) }
}

function prefillFlops(model: ModelShape, context: number): FlopParts {
  return forwardFlops(model, {
    tokens: context,
    logitRows: 1,
    dispatch: 'sparse',
    context: (attention) => meanKeysMet(attention, context),
  })
}

function decodeFlops(model: ModelShape, context: number): FlopParts {
  return forwardFlops(model, {
    tokens: 1,
    logitRows: 1,
    dispatch: 'sparse',
    context: (attention) => keysMet(attention, context),
    absorbed: true,
  })
}

export type Intensity = ReturnType<typeof intensity>

/**
 * Of one call with `tokens` of `sequences`: every weight that its tokens are expected to touch once, by the formula, and each
 * sequence's own keys and values once.
 */
function intensity(
  model: ModelShape,
  { context, dtype }: InspectOptions,
  { tokens, sequences, flops }: { tokens: number; sequences: number; flops: number },
) {
  const weightBytes = DTYPE_BYTES[dtype] * expectedWeightsRead(model, tokens)
  const cacheBytes = DTYPE_BYTES[cacheDtypeFor(dtype)] * sequences * cacheNumbers(model, context)
  return {
    batch: sequences,
    flops,
    weightBytes,
    cacheBytes,
    /** FLOPs for each byte read. */
    flopsPerByte: flops / (weightBytes + cacheBytes),
  }
}

/** Weights that a batch of T tokens is expected to touch. */
export function expectedWeightsRead(model: ModelShape, tokens: number): number {
  const touched = ({ numExperts, topK }: { numExperts: number; topK: number }) =>
    expectedDistinct(numExperts, topK, tokens)
  const heads = model.layers.flatMap(({ attention }) => (attention.kind === 'mixture' ? [attention] : []))
  return weightsRead(model, tokens, {
    experts: mixturesOf(model.layers).map(({ router }) => touched(router)),
    attention: heads.map(touched),
  })
}

/** Distinct experts that a batch of T tokens touches: an entry a kind of mixture layer; those with the same E and K are alike. */
function distinctExperts(model: ModelShape, tokens: number) {
  const routers = mixturesOf(model.layers).map(({ router }) => router)
  const kindOf = ({ numExperts, topK }: (typeof routers)[number]) => `${numExperts} ${topK}`
  const kinds = new Map(routers.map((router) => [kindOf(router), router]))
  return [...kinds].map(([kind, { numExperts, topK }]) => ({
    tokens,
    layers: routers.filter((router) => kindOf(router) === kind).length,
    numExperts,
    topK,
    /** E (1 - (1 - K/E)^T) */
    expected: expectedDistinct(numExperts, topK, tokens),
  }))
}

/** Published training FLOPs beside both ways of counting them. */
export function compareTraining(
  model: ModelShape,
  { perTokens, flops, source }: { perTokens: number; flops: number; source: string },
) {
  return {
    perTokens,
    published: flops,
    /** From nominal shapes, as papers do. */
    nominal: nominalTrainingFlops(model, perTokens),
    /** From the real matrices, attention in full. */
    matrices: totalFlops(trainingFlops(model, perTokens, 'full')),
    source,
  }
}

/** What is known of a published model beside its shapes. */
export interface PublishedFacts {
  comparisons: Comparison[]
  training: ReturnType<typeof compareTraining> | null
  source: string
  configSource: string
  notes: string | null
}
