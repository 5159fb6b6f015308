import { type ArchitectureSpec, everyExpert, mixturesOf } from './architecture.ts'
import {
  type CostDtype,
  cacheEntries,
  cacheNumbers,
  DTYPE_BYTES,
  keysMet,
  meanKeysMet,
  weightsRead,
} from './bytes.ts'
import { expectedDistinct } from './experts.ts'
import { architectureFlops, type FlopParts, scaled, totalFlops } from './flops.ts'
import { countArchitecture, type ParameterCount, type ParameterParts, parameterParts } from './parameters.ts'
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

export function inspectArchitecture(spec: ArchitectureSpec, options: InspectOptions): Inspection {
  const { context, dtype, batches } = options
  const cacheDtype = cacheDtypeFor(dtype)
  const count = countArchitecture(spec)
  const decode = batches.map((batch) => decodeIntensity(spec, batch, options))
  const one = decodeIntensity(spec, 1, options)
  const cacheWritten =
    DTYPE_BYTES[cacheDtype] * spec.layers.reduce((sum, l) => sum + cacheEntries(l.attention), 0)
  return {
    parameters: { ...count, activeParts: parameterParts(spec), byConvention: countsByConvention(spec) },
    flopsPerToken: {
      context,
      prefill: withTotal(scaled(prefillFlops(spec, context), 1 / context)),
      decode: withTotal(decodeFlops(spec, context)),
      decodeEveryExpert: withTotal(decodeFlops(everyExpert(spec), context)),
      training: withTotal(scaled(trainingFlops(spec, context, 'causal'), 1 / context)),
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
      cachePerSequence: DTYPE_BYTES[cacheDtype] * cacheNumbers(spec, context),
    },
    intensity: { prefill: prefillIntensity(spec, options), decode },
    distinctExperts: batches.flatMap((tokens) => distinctExperts(spec, tokens)),
  }
}

function withTotal(parts: FlopParts): FlopsPerToken {
  return { ...parts, total: totalFlops(parts) }
}

function prefillFlops(spec: ArchitectureSpec, context: number): FlopParts {
  return architectureFlops(spec, {
    tokens: context,
    logitRows: 1,
    dispatch: 'sparse',
    keys: (attention) => meanKeysMet(attention, context),
    absorbed: false,
  })
}

function decodeFlops(spec: ArchitectureSpec, context: number): FlopParts {
  return architectureFlops(spec, {
    tokens: 1,
    logitRows: 1,
    dispatch: 'sparse',
    keys: (attention) => keysMet(attention, context),
    absorbed: true,
  })
}

/** Expected bytes: the experts touched are those of the formula. */
function decodeIntensity(
  spec: ArchitectureSpec,
  batch: number,
  { context, dtype }: InspectOptions,
): Intensity {
  return intensity(
    batch,
    batch * totalFlops(decodeFlops(spec, context)),
    DTYPE_BYTES[dtype] * expectedWeightsRead(spec, batch),
    DTYPE_BYTES[cacheDtypeFor(dtype)] * batch * cacheNumbers(spec, context),
  )
}

/** One prompt: every weight that its tokens touch once, and its own keys and values once. */
function prefillIntensity(spec: ArchitectureSpec, { context, dtype }: InspectOptions): Intensity {
  return intensity(
    1,
    totalFlops(prefillFlops(spec, context)),
    DTYPE_BYTES[dtype] * expectedWeightsRead(spec, context),
    DTYPE_BYTES[cacheDtypeFor(dtype)] * cacheNumbers(spec, context),
  )
}

function intensity(batch: number, flops: number, weightBytes: number, cacheBytes: number): Intensity {
  return { batch, flops, weightBytes, cacheBytes, flopsPerByte: flops / (weightBytes + cacheBytes) }
}

/** Weights that a batch of T tokens is expected to touch. */
export function expectedWeightsRead(spec: ArchitectureSpec, tokens: number): number {
  const touched = ({ numExperts, topK }: { numExperts: number; topK: number }) =>
    expectedDistinct(numExperts, topK, tokens)
  const heads = spec.layers.flatMap(({ attention }) => (attention.kind === 'mixture' ? [attention] : []))
  return weightsRead(spec, tokens, { experts: mixturesOf(spec).map(touched), attention: heads.map(touched) })
}

/** One entry a kind of mixture layer; layers with the same E and K are alike. */
function distinctExperts(spec: ArchitectureSpec, tokens: number): DistinctExperts[] {
  const kinds = new Map<string, DistinctExperts>()
  for (const { numExperts, topK } of mixturesOf(spec)) {
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
  spec: ArchitectureSpec,
  { perTokens, flops, source }: { perTokens: number; flops: number; source: string },
): TrainingComparison {
  return {
    perTokens,
    published: flops,
    nominal: nominalTrainingFlops(spec, perTokens),
    matrices: totalFlops(trainingFlops(spec, perTokens, 'full')),
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
