/** A published tensor name and ours; `{layer}` and `{expert}` are numbers, any other `{part}` a letter or word. */
export type NameRule = [published: string, ours: string]

/** Names that every Llama-shaped decoder shares. */
export const DECODER_NAMES: NameRule[] = [
  ['model.embed_tokens.weight', 'embedding'],
  ['model.norm.weight', 'finalNorm'],
  ['lm_head.weight', 'unembedding'],
  ['model.layers.{layer}.input_layernorm.weight', 'blocks.{layer}.attentionNorm'],
  ['model.layers.{layer}.post_attention_layernorm.weight', 'blocks.{layer}.feedForwardNorm'],
  ['model.layers.{layer}.self_attn.{part}_proj.weight', 'blocks.{layer}.attention.{part}'],
  ['model.layers.{layer}.self_attn.{part}_proj.bias', 'blocks.{layer}.attention.{part}.bias'],
]

/** A buffer that old files carry along. */
export function isStaleBuffer(name: string): boolean {
  return name.endsWith('.rotary_emb.inv_freq')
}

/** Our name of a published tensor, or null when no rule knows it. */
export function ourName(rules: NameRule[], published: string): string | null {
  return translate(rules, published)
}

/** The published name of one of our tensors: the same table read backwards. */
export function publishedName(rules: NameRule[], ours: string): string | null {
  return translate(
    rules.map(([published, own]) => [own, published]),
    ours,
  )
}

function translate(rules: [from: string, to: string][], name: string): string | null {
  for (const [from, to] of rules) {
    const match = pattern(from).exec(name)
    if (match) return to.replace(/\{(\w+)\}/g, (_, part) => match.groups?.[part] ?? '')
  }
  return null
}

function pattern(template: string): RegExp {
  const escaped = template.replaceAll('.', '\\.')
  const groups = escaped.replace(/\{(\w+)\}/g, (_, part) =>
    part === 'layer' || part === 'expert' ? `(?<${part}>\\d+)` : `(?<${part}>[a-z]+)`,
  )
  return new RegExp(`^${groups}$`)
}
