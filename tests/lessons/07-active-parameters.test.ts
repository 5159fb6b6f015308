import { expect } from 'vitest'
import { weightBytesPerToken } from '../../src/cost/bytes.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { bytesByWidth } from '../../src/cost/widths.ts'
import { familyOf } from '../../src/families/index.ts'
import { allTensors } from '../../src/model/weights.ts'
import { percent } from '../../src/text/units.ts'
import { randomModel } from '../helpers/random.ts'
import { lesson, table } from './lesson.ts'

lesson('7. Active parameters', (tell) => {
  // A real model, small enough to count on fingers: one layer, D=2, H=3, E=4, K=1, V=5.
  const model = randomModel({ layers: 1, D: 2, H: 3, E: 4, K: 1, V: 5, heads: 1, kvHeads: 1 })
  const { parts, total, active } = countParameters(model.config)
  expect(parts).toMatchObject({
    embedding: 5 * 2,
    attention: 2 * (2 + 2 + 2) + 2 * 2,
    router: 2 * 4,
    experts: 4 * (3 * 2 * 3),
    dense: 0,
    norms: 3 * 2,
    unembedding: 5 * 2,
  })
  tell(
    'A model of one layer with D = 2, H = 3, E = 4, K = 1 and a vocabulary of V = 5. An expert has three matrices of D · H: gate, up ' +
      'and down, so 18 numbers; four experts are 72.',
  )
  const rows = [
    ['embedding', parts.embedding, 'V · D = 5 · 2'],
    ['attention', parts.attention, 'queries, keys, values 2 · 6, output 2 · 2'],
    ['router', parts.router, 'D · E = 2 · 4'],
    ['experts', parts.experts, 'E · 3 · D · H = 4 · 18'],
    ['norms', parts.norms, 'three of D = 2'],
    ['unembedding', parts.unembedding, 'V · D = 5 · 2'],
  ]
  expect(total).toBe(10 + 16 + 8 + 72 + 6 + 10) // = 122

  // The formula counts what is really there.
  expect(allTensors(model.weights).reduce((sum, tensor) => sum + tensor.size, 0)).toBe(total)

  // A token runs K = 1 of the 4 experts; three stay idle.
  expect(active).toBe(122 - 3 * 18)
  tell(
    table(
      ['part', 'parameters', 'by hand'],
      [...rows, ['total', total, ''], ['active', active, 'total - 3 idle experts · 18']],
    ),
  )
  tell(
    `All ${total} have to be stored. A token uses ${active} of them: everything but the three experts that it does not choose.`,
  )

  // Bytes read for one token: four a number, and of the input table only its own row.
  const bytes = weightBytesPerToken(model.config)
  expect(bytes).toBe(4 * (68 - 10 + 2))
  tell(
    `In bytes (float32, four a number) a token reads 4 · (${active} - 10 + 2) = ${bytes}: of the embedding it needs one row of 2, not all 10 numbers.`,
  )
  model.dispose()

  // The same formulas on the published sizes of Mixtral 8x7B.
  const config = familyOf(MIXTRAL_8X7B, 'config.json').parseConfig(MIXTRAL_8X7B, 'config.json')
  const mixtral = countParameters(config)
  expect(mixtral.total).toBe(46_702_792_704)
  expect(mixtral.active).toBe(12_879_925_248)
  tell(
    `Mixtral 8x7B by the same formulas: ${billions(mixtral.total)} billion stored, ${billions(mixtral.active)} billion active a token, ` +
      'which is what "47B, runs like 13B" means. It is not 8 · 7 = 56, because only the experts come eight times.',
  )

  // Held in fewer bits, the same parameters are fewer bytes to store and to read.
  const widths = bytesByWidth(config)
  const [float32, bfloat16, eight, four] = widths
  expect(float32).toMatchObject({ stored: 4 * mixtral.total, read: weightBytesPerToken(config) })
  expect(bfloat16.read).toBe(float32.read / 2)
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1)
  // Of 32 numbers each, 16 bits of scale: half a bit a number. The unembedding has 8 bits always; the rest stays as it is.
  const { attention, experts, router, embedding, norms, unembedding } = mixtral.parts
  const kept = 2 * (embedding + norms) + 4 * router + (8.5 / 8) * unembedding
  expect(eight.stored).toBe((8.5 / 8) * (attention + experts) + kept)
  expect(four.stored).toBe((4.5 / 8) * (attention + experts) + kept)
  tell(
    `${table(
      ['weights held in', 'GB stored', 'GB read a token', 'of float32'],
      widths.map(({ name, stored, read }) => [
        name,
        gigabytes(stored),
        gigabytes(read),
        percent(read / float32.read),
      ]),
    )}\n\nWriting a token is bound by these bytes. So what is active and how wide a number is save together: of float32 with every expert, ` +
      `4 bits and ${MIXTRAL_8X7B.num_experts_per_tok} of ${MIXTRAL_8X7B.num_local_experts} experts leave ` +
      `${percent(four.read / float32.readByAll)} to read.`,
  )
})

// mistralai/Mixtral-8x7B-v0.1, config.json
const MIXTRAL_8X7B = {
  model_type: 'mixtral',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  tie_word_embeddings: false,
}

function billions(count: number): string {
  return (count / 1e9).toFixed(1)
}
