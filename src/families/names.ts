/** A published tensor name and ours; `{layer}` and `{expert}` are numbers, any other `{part}` a letter or word. */
export type NameRule = [published: string, ours: string]

/** Names that most decoders share; a family's own stand before them, since the first that fits counts. */
export const DECODER_NAMES: NameRule[] = [
  ['model.embed_tokens.weight', 'embedding'],
  ['model.norm.weight', 'finalNorm'],
  ['lm_head.weight', 'unembedding'],
  ['model.layers.{layer}.input_layernorm.weight', 'blocks.{layer}.attentionNorm'],
  ['model.layers.{layer}.post_attention_layernorm.weight', 'blocks.{layer}.feedForwardNorm'],
  ['model.layers.{layer}.self_attn.{part}_proj.weight', 'blocks.{layer}.attention.{part}'],
  ['model.layers.{layer}.self_attn.{part}_proj.bias', 'blocks.{layer}.attention.{part}.bias'],
  ['model.layers.{layer}.mlp.{part}_proj.weight', 'blocks.{layer}.mlp.{part}'],
  ['model.layers.{layer}.mlp.{part}_proj.bias', 'blocks.{layer}.mlp.{part}.bias'],
  ['model.layers.{layer}.mlp.gate.weight', 'blocks.{layer}.moe.router'],
  // As published: one tensor an expert and matrix.
  [
    'model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight',
    'blocks.{layer}.moe.experts.{expert}.{part}',
  ],
  // As newer libraries hold it: all experts of a layer in two tensors.
  ['model.layers.{layer}.mlp.experts.gate_up_proj', 'blocks.{layer}.moe.stacked.gateUp'],
  ['model.layers.{layer}.mlp.experts.down_proj', 'blocks.{layer}.moe.stacked.down'],
]

/** A buffer that old files carry along. */
export function isStaleBuffer(name: string): boolean {
  return name.endsWith('.rotary_emb.inv_freq')
}

/** Translates published names to ours; null where no rule knows one. */
export function ourNames(rules: NameRule[]): (published: string) => string | null {
  return translator(rules)
}

/** Translates our names to the published ones: the same table read backwards. */
export function publishedNames(rules: NameRule[]): (ours: string) => string | null {
  return translator(rules.map(([published, ours]) => [ours, published]))
}

function translator(rules: [from: string, to: string][]): (name: string) => string | null {
  const patterns = rules.map(([from, to]) => [pattern(from), to] as const)
  return (name) => {
    for (const [from, to] of patterns) {
      const match = from.exec(name)
      if (match) return to.replace(/\{(\w+)\}/g, (_, part) => match.groups?.[part] ?? '')
    }
    return null
  }
}

function pattern(template: string): RegExp {
  const escaped = template.replaceAll('.', '\\.')
  const groups = escaped.replace(/\{(\w+)\}/g, (_, part) =>
    part === 'layer' || part === 'expert' ? `(?<${part}>\\d+)` : `(?<${part}>[a-z]+)`,
  )
  return new RegExp(`^${groups}$`)
}
