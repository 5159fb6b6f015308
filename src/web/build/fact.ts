import { factsOf } from '../../corpus/facts/world.ts'
import { TextCodec } from '../../eval/documents.ts'
import { answersWithout } from '../../eval/fact-experts.ts'
import { answerFacts, factQuestions } from '../../eval/facts.ts'
import type { LoadedModel } from '../../load-model.ts'
import type { FactExample } from './site.ts'

/** Entities whose facts are looked through: enough that some are known. */
const ENTITIES = 32
const SPLIT = 'heldout'

/**
 * A fact that the model recalls in words that it never read, its value one token, and the experts without any one of which it does not: of
 * all such facts one that hangs on the fewest. Null where the model knows none, or can spare every expert.
 */
export async function factExample(model: LoadedModel, name: string): Promise<FactExample | null> {
  const codec = new TextCodec(model.dir, model.config, model.tokenizer)
  const size = { entities: ENTITIES, phrasings: factsOf(0)[0].phrasings.length }
  const short = (await factQuestions(codec, size, SPLIT)).filter(
    ({ tokens, from }) => tokens.length === from + 1,
  )
  const answers = await answerFacts(model, short)
  const known = short.filter((_, i) => answers[i].right)
  if (known.length === 0) return null
  const holders: FactExample['experts'][] = known.map(() => [])
  let of = 0
  for (const [layer, { feedForward }] of model.config.layers.entries()) {
    const without = feedForward.kind === 'moe' ? ((await answersWithout(model, known, layer)) ?? []) : []
    of += without.length
    for (const [expert, own] of without.entries())
      for (const [i, { right }] of own.entries()) if (!right) holders[i].push({ layer, expert })
  }
  const held = [...known.keys()].filter((i) => holders[i].length > 0)
  if (held.length === 0) return null
  const chosen = held.reduce((least, i) => (holders[i].length < holders[least].length ? i : least))
  const { tokens, from, fact } = known[chosen]
  return {
    model: name,
    prompt: await codec.text(tokens.slice(1, from)),
    value: fact.value,
    experts: holders[chosen],
    of,
  }
}
