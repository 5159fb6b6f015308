import type { LoadedModel } from '../../src/load-model.ts'
import { summarize } from '../../src/samples.ts'
import type { Plan } from '../plan.ts'
import type { LayerDims, PeerRow } from '../schema.ts'

/** What peers are given: the same work as our own cases. */
export interface PeerWork {
  dims: LayerDims
  /** T of the layer's cases. */
  tokens: number[]
  model: Pick<LoadedModel, 'dir' | 'runtime'>
  plan: Pick<Plan, 'models' | 'baseContext' | 'steps'>
  seed: number
}

/** The longest prompt of one sequence that our own cases have. */
export function longestPrompt({ models }: Pick<Plan, 'models'>): number {
  const alone = models.filter(({ kind, batch }) => kind === 'prefill' && batch === 1)
  return Math.max(...alone.map(({ context }) => context))
}

export function peerRow(
  facts: Pick<PeerRow, 'implementation' | 'kind' | 'tokens' | 'batch' | 'context'>,
  samplesMs: number[],
): PeerRow {
  const { n, medianMs, p10Ms, p90Ms } = summarize(samplesMs)
  return { ...facts, n, medianMs, p10Ms, p90Ms, tokensPerSecond: (1000 * facts.tokens) / medianMs, samplesMs }
}
