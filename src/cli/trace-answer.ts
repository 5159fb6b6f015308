import { InputError, UsageError } from '../errors.ts'
import type { LoadedModel } from '../load-model.ts'
import type { Interventions } from '../model/router/types.ts'
import { table } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { percent } from '../text/units.ts'
import { type Without, withoutEach } from '../trace/without.ts'

/**
 * `tinymoe trace --prompt --answer`: how likely the answer is without each expert, for `--json`, and its text.
 * @throws InputError where the answer's tokens do not follow the prompt's
 */
export async function answerCommand(
  model: LoadedModel,
  prompt: string,
  answer: string,
  interventions?: Interventions,
): Promise<{ result: Without; text: string }> {
  const { tokenizer, dir } = model
  if (!tokenizer) throw new InputError(`${dir}: has no tokenizer.json to read --answer with`)
  const [before, tokens] = await Promise.all([prompt, prompt + answer].map((text) => tokenizer.encode(text)))
  if (tokens.length === before.length) throw new UsageError('--answer: has no tokens, expected some text')
  if (before.some((token, i) => token !== tokens[i]))
    throw new InputError(
      '--answer: is one token with the end of the prompt; begin it with the space between them',
    )
  const result = withoutEach(model, tokens, before.length, interventions)
  return { result, text: answerText(result, answer) }
}

/** A row a layer: the answer's probability without each expert, `*` where the router chose it for the last token before. */
function answerText({ probability, layers }: Without, answer: string): string {
  const columns = Math.max(...layers.map(({ experts }) => experts.length))
  const rows = layers.map(({ layer, experts }) => [
    String(layer),
    ...Array.from({ length: columns }, (_, e) => {
      const one = experts[e]
      if (!one || one.probability === null) return '-'
      return `${percent(one.probability)}${one.chosen ? '*' : ' '}`
    }),
  ])
  const heading = ['layer', ...Array.from({ length: columns }, (_, e) => `${e} `)]
  return (
    `${quoted(answer)}: probability ${percent(probability)}; without each expert (* chosen for the last token before it)\n\n` +
    table([heading, ...rows])
  )
}
