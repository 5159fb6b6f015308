import { attentionFacts } from '../model/attention/facts.ts'
import { type ModelShape, mixturesOf } from '../model/config.ts'
import { sum } from '../sums.ts'
import { keysMet, meanKeysMet } from './attention.ts'
import { type CostDtype, cacheNumbers, DTYPE_BYTES, weightsRead } from './bytes.ts'
import { expectedDistinct } from './experts.ts'
import { type FlopParts, forwardFlops, scaled, totalFlops } from './flops.ts'
import {
  countParameters,
  everyExpert,
  type ParameterCount,
  type ParameterParts,
  parameterParts,
} from './parameters.ts'
import { type Comparison, type Convention, countsByConvention } from './published.ts'
import { nominalTrainingFlops, trainingFlops } from './training.ts'

export interface InspectOptions {
  /** S: tokens of the prompt, and the context that a decoded token meets. */
  context: number
  /** Of the weights. */
  dtype: CostDtype
  /** T of the tables: sequences decoded together, or tokens of a batch. */
  batches: readonly number[]
}

type FlopsPerToken = FlopParts & { total: number }

/** Distinct experts that a batch of T tokens touches in one kind of mixture layer. */
export interface DistinctExperts {
  tokens: number
  /** How many layers are alike, and what they have. */
  layers: number
  numExperts: number
  topK: number
  /** E (1 - (1 - K/E)^T) */
  expected: number
}

/** Decoding one token for each of `batch` sequences of `context` tokens. */
export interface Intensity {
  batch: number
  flops: number
  weightBytes: number
  cacheBytes: number
  /** FLOPs for each byte read. */
  flopsPerByte: number
}

/** All that shapes alone tell about a model. The first three fields are the fixed form of `inspect --json`. */
export interface Inspection {
  parameters: ParameterCount & {
    activeParts: ParameterParts
    byConvention: Record<Convention, { total: number; active: number }>
  }
  /** Prefill: mean over a prompt of `context` tokens, causal, logits of its last token only. Decode: the next one. */
  flopsPerToken: {
    context: number
    prefill: FlopsPerToken
    decode: FlopsPerToken
    /** Decode if every expert ran. */
    decodeEveryExpert: FlopsPerToken
    /** Forward and backward in sequences of `context` tokens, causal. */
    training: FlopsPerToken
  }
  /** One decoded token of one sequence. */
  bytesPerToken: {
    context: number
    dtype: CostDtype
    cacheDtype: CostDtype
    weights: number
    cacheRead: number
    cacheWritten: number
    total: number
  }
  bytes: { allWeights: number; cachePerSequence: number }
  intensity: { prefill: Intensity; decode: Intensity[] }
  distinctExperts: DistinctExperts[]
}

/** Keys and values stay in 16 bits where weights are smaller. */
function cacheDtypeFor(dtype: CostDtype): CostDtype {
  return DTYPE_BYTES[dtype] < DTYPE_BYTES.bfloat16 ? 'bfloat16' : dtype
}

export function inspectModel(model: ModelShape, options: InspectOptions): Inspection {
  const { context, dtype, batches } = options
  const cacheDtype = cacheDtypeFor(dtype)
  const count = countParameters(model)
  const prefill = prefillFlops(model, context)
  const decode = decodeFlops(model, context)
  const intensityAt = (batch: number) =>
    intensity(model, options, { tokens: batch, sequences: batch, flops: batch * totalFlops(decode) })
  const one = intensityAt(1)
  const cacheWritten =
    DTYPE_BYTES[cacheDtype] *
    sum(model.layers.map(({ attention }) => attentionFacts(attention).cached(attention)))
  return {
    parameters: { ...count, activeParts: parameterParts(model), byConvention: countsByConvention(model) },
    flopsPerToken: {
      context,
      prefill: withTotal(scaled(prefill, 1 / context)),
      decode: withTotal(decode),
      decodeEveryExpert: withTotal(decodeFlops(everyExpert(model), context)),
      training: withTotal(scaled(trainingFlops(model, context, 'causal'), 1 / context)),
    },
    bytesPerToken: {
      context,
      dtype,
      cacheDtype,
      weights: one.weightBytes,
      cacheRead: one.cacheBytes,
      cacheWritten,
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

function withTotal(parts: FlopParts): FlopsPerToken {
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

/**
 * Of one call with `tokens` of `sequences`: every weight that its tokens are expected to touch once, by the formula, and each
 * sequence's own keys and values once.
 */
function intensity(
  model: ModelShape,
  { context, dtype }: InspectOptions,
  { tokens, sequences, flops }: { tokens: number; sequences: number; flops: number },
): Intensity {
  const weightBytes = DTYPE_BYTES[dtype] * expectedWeightsRead(model, tokens)
  const cacheBytes = DTYPE_BYTES[cacheDtypeFor(dtype)] * sequences * cacheNumbers(model, context)
  return {
    batch: sequences,
    flops,
    weightBytes,
    cacheBytes,
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

/** One entry a kind of mixture layer; layers with the same E and K are alike. */
function distinctExperts(model: ModelShape, tokens: number): DistinctExperts[] {
  const kinds = new Map<string, DistinctExperts>()
  for (const { numExperts, topK } of mixturesOf(model.layers).map(({ router }) => router)) {
    const key = `${numExperts} ${topK}`
    const expected = expectedDistinct(numExperts, topK, tokens)
    const kind = kinds.get(key) ?? { tokens, layers: 0, numExperts, topK, expected }
    kinds.set(key, { ...kind, layers: kind.layers + 1 })
  }
  return [...kinds.values()]
}

/** Published training FLOPs beside both ways of counting them. */
export interface TrainingComparison {
  perTokens: number
  published: number
  /** From nominal shapes, as papers do. */
  nominal: number
  /** From the real matrices, attention in full. */
  matrices: number
  source: string
}

export function compareTraining(
  model: ModelShape,
  { perTokens, flops, source }: { perTokens: number; flops: number; source: string },
): TrainingComparison {
  return {
    perTokens,
    published: flops,
    nominal: nominalTrainingFlops(model, perTokens),
    matrices: totalFlops(trainingFlops(model, perTokens, 'full')),
    source,
  }
}

/** What is known of a published model beside its shapes. */
export interface PublishedFacts {
  comparisons: Comparison[]
  training: TrainingComparison | null
  source: string
  configSource: string
  notes: string | null
}
