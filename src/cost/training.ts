import type { LayerShape, ModelShape } from '../model/config.ts'
import { meanKeysMet } from './attention.ts'
import { type FlopParts, forwardFlops, scaled } from './flops.ts'

/** Forward, and backward twice as much: gradients of inputs and of weights. */
const FORWARD_AND_BACKWARD = 3

/**
 * FLOPs to train on one sequence of `length` tokens by part, from the real matrices. `keys` is how much of the attention
 * counts: all of it, as many papers do, or the half that causality leaves. Left out: recomputation, the optimizer.
 */
export function trainingFlops(model: ModelShape, length: number, keys: 'full' | 'causal'): FlopParts {
  const forward = forwardFlops(model, {
    tokens: length,
    logitRows: length,
    dispatch: 'sparse',
    context: (attention) => (keys === 'full' ? length : meanKeysMet(attention, length)),
  })
  return scaled(forward, FORWARD_AND_BACKWARD)
}

/**
 * FLOPs to train on one sequence as papers quote them, from nominal shapes: 72 s L D^2 (1 + s / 6D + V / 12LD) for
 * feed-forwards of 8 D^2 (Narayanan et al., arXiv 2104.04473, appendix, without recomputation). That is 4 D^2 of attention
 * projections a layer, a feed-forward of 8 D^2 times its width over the standard 8/3 D in quarters (DeepSeekMoE: "0.25
 * times of a standard FFN"), full attention, the unembedding, no router.
 */
export function nominalTrainingFlops(model: ModelShape, length: number): number {
  const { hiddenSize: D, vocabSize: V, layers } = model
  const perToken = layers.reduce(
    (sum, layer) => sum + 2 * (4 + 8 * nominalFeedForward(layer, D)) * D * D + 4 * length * D,
    2 * D * V,
  )
  return FORWARD_AND_BACKWARD * length * perToken
}

/** Active width of a layer in standard feed-forwards (8/3 D, three matrices), to the nearest quarter. */
function nominalFeedForward({ feedForward }: LayerShape, D: number): number {
  const width =
    feedForward.kind === 'dense'
      ? feedForward.intermediateSize
      : feedForward.router.topK * feedForward.intermediateSize +
        (feedForward.sharedExpert?.intermediateSize ?? 0)
  return Math.round(4 * (width / ((8 / 3) * D))) / 4
}

/** What a training run was, and what its hours cost. */
export interface TrainingRun {
  /** N active and total: parameters that a token uses, and all. */
  active: number
  total: number
  /** D: tokens of the pre-training. */
  tokens: number
  /** Hours of one device: of the pre-training, and of the whole run. */
  pretrainingHours: number
  hours: number
  /** Dollars an hour. */
  price: number
  /** FLOP/s of one device for dense products: bfloat16 and fp8. */
  peak: { bfloat16: number; fp8: number }
  /** FLOPs of attention scores a token, forward and backward; null when the architecture is not known. */
  attentionPerToken: number | null
}

export type TrainingCost = ReturnType<typeof trainingCost>

/** From FLOPs to hours and dollars. */
export function trainingCost(run: TrainingRun) {
  const { active, total, tokens, pretrainingHours, hours, price, peak, attentionPerToken } = run
  const weightFlops = 6 * active * tokens
  const attentionFlops = attentionPerToken === null ? null : attentionPerToken * tokens
  const seconds = pretrainingHours * 3600
  const used = (flops: number) => ({
    bfloat16: flops / seconds / peak.bfloat16,
    fp8: flops / seconds / peak.fp8,
  })
  const denseFlops = 6 * total * tokens
  const attention = attentionFlops ?? 0
  const timesFlops = (denseFlops + attention) / (weightFlops + attention)
  return {
    /** 6 N D: two for the forward, four for the backward, a token and parameter. */
    weightFlops,
    attentionFlops,
    /** Of `weightFlops` alone in the pre-training hours. */
    flopsPerSecond: weightFlops / seconds,
    utilisation: used(weightFlops),
    /** With the attention counted; null when it is not known. */
    utilisationWithAttention: attentionFlops === null ? null : used(weightFlops + attentionFlops),
    /** Hours of the pre-training if every device did its bfloat16 peak. */
    hoursAtPeak: weightFlops / peak.bfloat16 / 3600,
    dollars: hours * price,
    pretrainingDollars: pretrainingHours * price,
    /** The same tokens with every parameter active, at the same FLOP/s a device (attention included where known). */
    dense: {
      weightFlops: denseFlops,
      timesFlops,
      pretrainingHours: pretrainingHours * timesFlops,
      pretrainingDollars: pretrainingHours * timesFlops * price,
    },
  }
}
