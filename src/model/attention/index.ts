import type { AttentionConfig, GroupedAttention, LatentAttention, LayerConfig } from '../config.ts'
import type { GroupedWeights, LatentWeights } from '../weights.ts'
import { grouped } from './grouped.ts'
import type { AttentionCall, AttentionKind, AttentionLayer, CachedShape } from './kind.ts'
import { latent } from './latent.ts'

/** The kinds that run; facts.ts has these and those that are only counted. */
export const ATTENTION: {
  grouped: AttentionKind<GroupedAttention, GroupedWeights>
  latent: AttentionKind<LatentAttention, LatentWeights>
} = { grouped, latent }

/** A layer's weights are of its attention's kind. */
function kindOf({ kind }: AttentionConfig): AttentionKind<AttentionConfig> {
  return ATTENTION[kind] as unknown as AttentionKind<AttentionConfig>
}

/** Each layer's attention in a call. */
export function attentionLayers(layers: LayerConfig[], call: AttentionCall): AttentionLayer[] {
  const made = new Map<AttentionConfig, AttentionLayer>()
  return layers.map(({ attention }) => {
    const shared = made.get(attention) ?? kindOf(attention).layers(attention, call)
    made.set(attention, shared)
    return shared
  })
}

/** What a cache holds, an entry a layer. */
export function cachedShapes(layers: LayerConfig[]): CachedShape[] {
  return layers.map(({ attention }) => kindOf(attention).cached(attention))
}
