import type { GroupedAttention, RopeConfig } from '../../src/model/config.ts'

/** Plain attention of two heads that share keys and values; anything may be changed. */
export function groupedAttention(
  change: Partial<GroupedAttention> & { rope?: RopeConfig } = {},
): GroupedAttention & { rope: RopeConfig } {
  return {
    kind: 'grouped',
    numHeads: 2,
    numKeyValueHeads: 1,
    headDim: 4,
    bias: false,
    slidingWindow: null,
    rope: { theta: 10000, scaling: { type: 'default' } },
    ...change,
  }
}
