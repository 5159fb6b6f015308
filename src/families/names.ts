import type { ModelConfig } from '../model/config.ts'

/** How a file holds numbers, where not as the model does. */
export interface Layout {
  /** Matrices are [in, out]. */
  transposed?: true
  /** What ours has one above the other stands in so many groups, each with a part of every one's rows. */
  groups?: (config: ModelConfig) => number
  /** Experts stand above one another; else a tensor of all experts has an axis for them. */
  flat?: true
}

/**
 * A published tensor name and ours; `{layer}` and `{expert}` are numbers, any other `{part}` a letter or word. Ours may be several
 * that the file has in one, one above the other (`gate+up`); an `{expert}` that only ours has: those of all experts.
 */
export type NameRule = [published: string, ours: string, layout?: Layout]

/** All experts of a layer in two tensors below `prefix`, as newer libraries hold them. */
export function stackedExperts(prefix: string, layout: Layout = {}): NameRule[] {
  const experts = 'blocks.{layer}.moe.experts.{expert}'
  return [
    [`${prefix}.gate_up_proj`, `${experts}.gate+up`, layout],
    [`${prefix}.down_proj`, `${experts}.down`, layout],
  ]
}

/** Names that most decoders share, but for what follows attention. */
export const ATTENTION_NAMES: NameRule[] = [
  ['model.embed_tokens.weight', 'embedding'],
  ['model.norm.weight', 'finalNorm'],
  ['model.norm.bias', 'finalNorm.bias'],
  ['lm_head.weight', 'unembedding'],
  ['lm_head.bias', 'unembedding.bias'],
  ['model.layers.{layer}.input_layernorm.weight', 'blocks.{layer}.attentionNorm'],
  ['model.layers.{layer}.input_layernorm.bias', 'blocks.{layer}.attentionNorm.bias'],
  ['model.layers.{layer}.post_attention_layernorm.weight', 'blocks.{layer}.feedForwardNorm'],
  ['model.layers.{layer}.post_attention_layernorm.bias', 'blocks.{layer}.feedForwardNorm.bias'],
  // Named one by one: sinks are no projection.
  ...[...'qkvo'].flatMap((part): NameRule[] => [
    [`model.layers.{layer}.self_attn.${part}_proj.weight`, `blocks.{layer}.attention.${part}`],
    [`model.layers.{layer}.self_attn.${part}_proj.bias`, `blocks.{layer}.attention.${part}.bias`],
  ]),
]

/** Names that most decoders share; a family's own stand before them. As published comes first, as newer libraries hold it last. */
export const DECODER_NAMES: NameRule[] = [
  ...ATTENTION_NAMES,
  ['model.layers.{layer}.mlp.{part}_proj.weight', 'blocks.{layer}.mlp.{part}'],
  ['model.layers.{layer}.mlp.{part}_proj.bias', 'blocks.{layer}.mlp.{part}.bias'],
  ['model.layers.{layer}.mlp.gate.weight', 'blocks.{layer}.moe.router'],
  // As published: one tensor an expert and matrix.
  [
    'model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight',
    'blocks.{layer}.moe.experts.{expert}.{part}',
  ],
  ...stackedExperts('model.layers.{layer}.mlp.experts'),
]

/** Norms of queries and keys. */
export const QK_NORM_NAMES: NameRule[] = [
  ['model.layers.{layer}.self_attn.{part}_norm.weight', 'blocks.{layer}.attention.{part}Norm'],
]

/** Mixtral's own, which others took over. */
export const MIXTRAL_NAMES: NameRule[] = [
  ['model.layers.{layer}.block_sparse_moe.gate.weight', 'blocks.{layer}.moe.router'],
  ...(['w1 gate', 'w3 up', 'w2 down'] as const).map((pair): NameRule => {
    const [w, part] = pair.split(' ')
    return [
      `model.layers.{layer}.block_sparse_moe.experts.{expert}.${w}.weight`,
      `blocks.{layer}.moe.experts.{expert}.${part}`,
    ]
  }),
]

/** DeepSeek's: experts that every token passes through, and a bias on choosing. */
export const SHARED_EXPERT_NAMES: NameRule[] = [
  ['model.layers.{layer}.mlp.gate.e_score_correction_bias', 'blocks.{layer}.moe.scoreBias'],
  ['model.layers.{layer}.mlp.shared_experts.{part}_proj.weight', 'blocks.{layer}.moe.shared.{part}'],
  ['model.layers.{layer}.mlp.shared_experts.{part}_proj.bias', 'blocks.{layer}.moe.shared.{part}.bias'],
]

/** A buffer that old files carry along. */
export function isStaleBuffer(name: string): boolean {
  return name.endsWith('.rotary_emb.inv_freq')
}

/** The same, and blocks past the last, which are for multi-token prediction. */
export function isStaleOrBeyond(name: string, { layers }: ModelConfig): boolean {
  return isStaleBuffer(name) || Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1) >= layers.length
}

/** A published tensor that holds one of ours. */
export interface PublishedName {
  name: string
  layout: Layout
  /** Which of the experts it holds; null where it holds no others. */
  expert: number | null
  /** By which rule, counted from 0. */
  rule: number
}

/** The published tensors that one of ours, or several that are joined, may stand in, in the order of the rules. */
export function publishedNames(rules: NameRule[]): (ours: string) => PublishedName[] {
  const patterns = rules.map(([published, ours, layout = {}]) => ({
    published,
    pattern: pattern(ours),
    layout,
  }))
  return (ours) =>
    patterns.flatMap(({ published, pattern, layout }, rule) => {
      const match = pattern.exec(ours)
      if (!match) return []
      const { groups } = match
      const name = published.replace(/\{(\w+)\}/g, (_, part) => groups?.[part] ?? '')
      const ofAll = groups?.expert !== undefined && !published.includes('{expert}')
      return [{ name, layout, expert: ofAll ? Number(groups.expert) : null, rule }]
    })
}

function pattern(template: string): RegExp {
  const escaped = template.replace(/[.+]/g, '\\$&')
  const groups = escaped.replace(/\{(\w+)\}/g, (_, part) =>
    part === 'layer' || part === 'expert' ? `(?<${part}>\\d+)` : `(?<${part}>[a-z]+)`,
  )
  return new RegExp(`^${groups}$`)
}
