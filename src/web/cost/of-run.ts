import { forwardWeightBytes } from '../../cost/bytes.ts'
import { flopsPerToken, totalFlops } from '../../cost/flops.ts'
import { countParameters } from '../../cost/parameters.ts'
import { type ModelConfig, mixturesOf } from '../../model/config.ts'
import { mean, sum } from '../../sums.ts'
import { type ParametersUsed, parametersUsed } from '../../trace/parameters.ts'
import type { Run } from '../engine/protocol.ts'

/** What one token of a run cost, mean of its tokens, and what it would with every expert. */
export interface RunCost {
  parameters: { active: number; total: number }
  /** Of one token that meets as many keys as the text has tokens. */
  flops: { active: number; everyExpert: number }
  /** Weights read to write one token, float32. */
  bytes: { active: number; everyExpert: number }
  /** Experts that ran for a token, an entry a mixture layer. */
  expertsRun: number[]
  /** Null for a model without routers. */
  used: ParametersUsed | null
}

export function costOfRun(config: ModelConfig, { trace, tokens }: Pick<Run, 'trace' | 'tokens'>): RunCost {
  const { total } = countParameters(config)
  const mixtures = mixturesOf(config.layers)
  const used = trace && parametersUsed(config, trace)
  const expertsRun = mixtures.map((_, l) => mean(used!.experts.map((byLayer) => byLayer[l].length)))
  const flops = (dispatch: 'sparse' | 'dense') => totalFlops(flopsPerToken(config, tokens.length, dispatch))
  // The formula counts the K of the config; a multiply-add is 2.
  const difference = 2 * sum(mixtures.map(({ router }, l) => (expertsRun[l] - router.topK) * used!.expert[l]))
  const bytes = (experts: number[]) => forwardWeightBytes(config, 1, experts)
  return {
    parameters: { active: used ? mean(used.active) : total, total },
    flops: { active: flops('sparse') + difference, everyExpert: flops('dense') },
    bytes: { active: bytes(expertsRun), everyExpert: bytes(mixtures.map(({ router }) => router.numExperts)) },
    expertsRun,
    used,
  }
}

/** Mean surprise of a text's tokens, nats; null for a single token. */
export function lossOf({ losses }: Pick<Run, 'losses'>): number | null {
  return losses.length === 0 ? null : mean(losses)
}
