import type { LoadedModel } from '../../src/load-model.ts'
import { summarize } from '../../src/samples.ts'
import type { Plan } from '../plan.ts'
import type { LayerDims, PeerRow } from '../schema.ts'

/** What peers are given: the same work as our own cases. */
export interface PeerWork {
  dims: LayerDims
  /** T of the layer's cases; none where they were not asked for. */
  tokens: number[]
  model: Pick<LoadedModel, 'dir' | 'runtime'>
  plan: Pick<Plan, 'models' | 'baseContext' | 'steps'>
  seed: number
}

/** The longest prompt of one sequence that our own cases have, and the steps of their decode; 0 where there is no such case. */
export function modelWork({ models, steps }: Pick<Plan, 'models' | 'steps'>): {
  prefill: number
  decode: number
} {
  const of = (wanted: string) => models.filter(({ kind, batch }) => kind === wanted && batch === 1)
  return {
    prefill: Math.max(0, ...of('prefill').map(({ context }) => context)),
    decode: of('decode').length > 0 ? steps : 0,
  }
}

export function peerRow(
  facts: Pick<PeerRow, 'implementation' | 'kind' | 'tokens' | 'batch' | 'context'>,
  samplesMs: number[],
): PeerRow {
  const { n, medianMs, p10Ms, p90Ms } = summarize(samplesMs)
  return { ...facts, n, medianMs, p10Ms, p90Ms, tokensPerSecond: (1000 * facts.tokens) / medianMs, samplesMs }
}
