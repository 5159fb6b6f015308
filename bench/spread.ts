import type { RoutingSpread } from './types.ts'

/** tokensPerExpert [E] of each mixture layer. */
export function spreadOf(layers: Int32Array[]): RoutingSpread {
  const counts = layers.flatMap((tokensPerExpert) => [...tokensPerExpert])
  return {
    minTokens: Math.min(...counts),
    meanTokens: counts.reduce((a, b) => a + b, 0) / counts.length,
    maxTokens: Math.max(...counts),
    expertsTouched: layers.map((tokensPerExpert) => tokensPerExpert.filter((count) => count > 0).length),
  }
}
