import { z } from 'zod'
import type { DenseConfig, FeedForwardConfig, MoeConfig } from '../model/config.ts'
import { type FieldsOf, type FieldTable, flag, size, used } from './fields.ts'
import { checkTopK, softmaxRouter } from './layers.ts'
import { routerTraining } from './schema.ts'

/** What Qwen's mixtures have alike, with the published class's defaults: where they stand, and their router. */
export function qwenMoe(d: { widths: [dense: number, expert: number]; experts: number; topK: number }) {
  return {
    ...routerTraining,
    intermediate_size: size(d.widths[0], 'H of the dense layers'),
    moe_intermediate_size: size(d.widths[1], 'H of an expert'),
    num_experts: size(d.experts, 'E'),
    num_experts_per_tok: size(d.topK, 'K, at most E'),
    norm_topk_prob: flag(false, 'weights of the chosen are divided by their sum'),
    decoder_sparse_step: size(1, 'every so many layers one is a mixture'),
    mlp_only_layers: used(z.array(z.int().nonnegative()).nullish(), 'layers that are dense all the same'),
    use_sliding_window: flag(false, 'whether there is a window'),
    sliding_window: used(
      z.int().nonnegative().nullable().default(4096),
      'keys that a token sees, itself included, with use_sliding_window; null and 0 are all',
    ),
  } satisfies FieldTable
}

type QwenFields = FieldsOf<ReturnType<typeof qwenMoe>>

/** Keys that are seen where there is a window. */
export function windowOf(c: QwenFields): number | null {
  return (c.use_sliding_window && c.sliding_window) || null
}

/** By layer dense, or a mixture with `more`. */
export function qwenFeedForwards(
  c: QwenFields,
  more: Partial<MoeConfig>,
  file: string,
): (i: number) => FeedForwardConfig {
  checkTopK(c.num_experts_per_tok, c.num_experts, 'num_experts', file)
  const dense: DenseConfig = { kind: 'dense', intermediateSize: c.intermediate_size, bias: false }
  const moe: MoeConfig = {
    kind: 'moe',
    intermediateSize: c.moe_intermediate_size,
    router: softmaxRouter(c.num_experts, c.num_experts_per_tok, c.norm_topk_prob),
    ...more,
  }
  return (i) => (c.mlp_only_layers?.includes(i) || (i + 1) % c.decoder_sparse_step !== 0 ? dense : moe)
}
