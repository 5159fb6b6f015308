import type { AttentionConfig, LayerConfig } from '../config.ts'
import { grouped } from './grouped.ts'
import type { AttentionCall, AttentionKind, AttentionLayer, CachedShape } from './kind.ts'

/** The kinds that run; facts.ts has these and those that are only counted. */
export const ATTENTION: {
  [Kind in AttentionConfig['kind']]: AttentionKind<Extract<AttentionConfig, { kind: Kind }>>
} = { grouped }

/** Each layer's attention in a call. */
export function attentionLayers(layers: LayerConfig[], call: AttentionCall): AttentionLayer[] {
  const made = new Map<AttentionConfig, AttentionLayer>()
  return layers.map(({ attention }) => {
    const shared = made.get(attention) ?? ATTENTION[attention.kind].layers(attention, call)
    made.set(attention, shared)
    return shared
  })
}

/** What a cache holds, an entry a layer. */
export function cachedShapes(layers: LayerConfig[]): CachedShape[] {
  return layers.map(({ attention }) => ATTENTION[attention.kind].cached(attention))
}
