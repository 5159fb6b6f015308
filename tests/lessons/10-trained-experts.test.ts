import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { DOMAINS } from '../../src/corpus/index.ts'
import { type Document, documentsOfTokens, TextCodec } from '../../src/eval/documents.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { type RoutedToken, tokenShares } from '../../src/eval/specialisation.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { joinTraces, type LayerTrace, type RoutingTrace } from '../../src/model/trace.ts'
import { chosenExperts } from '../../src/trace/statistics.ts'
import { lesson, table } from './lesson.ts'

const [MOE, UNTRAINED] = ['moe', 'random-mixtral'].map((name) =>
  fileURLToPath(new URL(`../../models/${name}`, import.meta.url)),
)
/** Tokens of each kind of text, at least. */
const TOKENS = 150
const [FIRST, LAST] = [0, 3]

/** Kinds of tokens that one expert of the first layer stands out for. */
const KINDS: [name: string, pattern: RegExp][] = [
  ['a digit', /^\d$/],
  ['a closing bracket', /^ ?[)\]}]+$/],
  ['a full stop', /^\.$/],
  ['a comma', /^,$/],
]

lesson(
  '10. What experts learn',
  async (tell) => {
    const [model, untrained] = [await load(MOE), await load(UNTRAINED)]
    const codec = new TextCodec(model.dir, model.config, model.tokenizer)
    const documents = await documentsOfTokens(codec, DOMAINS, { split: 'heldout', seed: 1 }, TOKENS)
    const [trained, control] = [await read(model, documents), await read(untrained, documents)]
    const { layers, tokens } = trained
    const { numExperts: E, topK: K } = layers[0]
    expect([layers.length, E, K, tokens.length]).toEqual([4, 8, 2, 1159])
    tell(
      `So far experts were made by hand or drawn by chance. Those of \`models/moe\` (${layers.length} layers, E = ${E}, K = ${K}) were trained, on six kinds of ` +
        'text all mixed: stories in English and in German, sums, programs, data and dates. Nobody told the model which text is of which ' +
        `kind, and balancing asks only that all experts are busy. Here it reads ${tokens.length} tokens that it was not trained on, ${TOKENS} or more of each kind. ` +
        `Were experts picked by lot, each would get K / E = ${(100 * K) / E} % of any tokens. Beside it \`models/random-mixtral\`, the same but untrained.`,
    )

    // Early on: what kind of token is it?
    const texts = await Promise.all(tokens.map(({ token }) => codec.tokenText(token)))
    const kinds = KINDS.map(([name, pattern]) => {
      const rows = [...tokens.keys()].filter((t) => pattern.test(texts[t]))
      const [own, other] = [layers, control.layers].map((of) => favourite(sharesAmong(of[FIRST], rows)))
      return [name, rows.length, own.expert, percent(own.share), percent(other.share)]
    })
    expect(kinds).toEqual([
      ['a digit', 208, 4, '91 %', '50 %'],
      ['a closing bracket', 37, 7, '81 %', '57 %'],
      ['a full stop', 26, 3, '100 %', '46 %'],
      ['a comma', 55, 0, '96 %', '56 %'],
    ])
    tell(
      `**The first layer sorts by token.** The ten digits are ten tokens, and nine times in ten they have expert 4 among their ${K}:`,
    )
    tell(table(['token', 'times', `favourite in layer ${FIRST}`, 'gets', 'untrained'], kinds))

    // At the end: what kind of text is it?
    const shares = tokenShares(layers[LAST], tokens)
    const domains = DOMAINS.map((domain) => [domain, ...shares[domain]!.map(percent)])
    expect(domains).toEqual([
      ['story', '18 %', '73 %', '19 %', '21 %', '24 %', '3 %', '35 %', '7 %'],
      ['arithmetic', '27 %', '3 %', '15 %', '29 %', '3 %', '63 %', '10 %', '50 %'],
      ['code', '18 %', '10 %', '49 %', '23 %', '16 %', '11 %', '44 %', '29 %'],
      ['german', '24 %', '38 %', '30 %', '14 %', '67 %', '10 %', '7 %', '9 %'],
      ['data', '16 %', '5 %', '11 %', '33 %', '36 %', '30 %', '37 %', '32 %'],
      ['dates', '52 %', '7 %', '14 %', '11 %', '5 %', '72 %', '12 %', '28 %'],
    ])
    tell(
      `**The last layer sorts by kind of text.** Shares of layer ${LAST}; a token has ${K} experts, so a row adds up to ${K}00 %, but for rounding:`,
    )
    tell(table(['text', ...Array.from({ length: E }, (_, expert) => `expert ${expert}`)], domains))

    // Shares alone prove nothing. What is lost when tokens may not go there does.
    const german = tokenShares(control.layers[LAST], tokens).german!
    expect([favourite(german).expert, percent(german[1])]).toEqual([1, '74 %'])
    const [without1, without5, control1] = [
      await rises(model, documents, trained.losses, 1),
      await rises(model, documents, trained.losses, 5),
      await rises(untrained, documents, control.losses, 1),
    ]
    const lost = DOMAINS.map((domain, i) => [domain, without1[i], without5[i], control1[i]])
    expect(lost).toEqual([
      ['story', 0.81, 0, 0],
      ['arithmetic', 0, 0.42, 0.02],
      ['code', 0.02, 0.01, 0.03],
      ['german', 0.1, 0, -0.01],
      ['data', 0, 0.32, 0.01],
      ['dates', 0, 0.36, -0.02],
    ])
    tell(
      `**What is an expert good for?** Uneven shares alone do not tell: in the untrained model ${percent(german[1])} of the German tokens go to expert 1 of layer ${LAST}. So take an ` +
        `expert away (\`--disable ${LAST}:1\`): every token that wanted it goes to its next best. The loss rises by so many nats a token:`,
    )
    tell(table(['text', 'without expert 1', 'without expert 5', 'untrained, without expert 1'], lost))
    tell(
      'Expert 1 carries English stories, German ones a little, and hardly anything else misses it; expert 5 carries what is full of digits; the untrained one ' +
        'carries nothing. Yet experts are specialists, not departments: each kind of text uses the other experts too. `tinymoe trace models/moe --prompt "47+85:"` shows single tokens, ' +
        '`tinymoe eval models/moe --experts` measures all experts on more text.',
    )
    model.dispose()
    untrained.dispose()
  },
  'wasm',
)

function load(dir: string): Promise<LoadedModel> {
  return loadModel(dir, { device: 'wasm' })
}

interface Reading {
  /** Nats of each document. */
  losses: number[]
  layers: LayerTrace[]
  /** What each row of the layers is about. */
  tokens: RoutedToken[]
}

async function read(model: LoadedModel, documents: Document[]): Promise<Reading> {
  const traces: RoutingTrace[] = []
  const tokens: RoutedToken[] = []
  const losses = await documentLosses(model, documents, {
    onTrace: (trace, batch) => {
      traces.push(trace)
      for (const { token, sequence } of trace.rows) {
        tokens.push({ token, document: batch[sequence], domain: documents[batch[sequence]].domain })
      }
    },
  })
  return { losses, layers: joinTraces(traces).layers, tokens }
}

/** By how much each domain's loss rises without an expert of the last layer, nats a token, to hundredths. */
async function rises(
  model: LoadedModel,
  documents: Document[],
  intact: number[],
  expert: number,
): Promise<number[]> {
  const without = await documentLosses(model, documents, {
    interventions: { disable: [{ expert, layer: LAST }] },
  })
  const [before, after] = [intact, without].map((losses) => lossReport(documents, losses).byDomain)
  return DOMAINS.map((domain) => Number((after[domain]! - before[domain]!).toFixed(2)) + 0) // no negative zero
}

/** Share of these rows that have each expert among their K. */
function sharesAmong(layer: LayerTrace, rows: number[]): number[] {
  const counts = new Array<number>(layer.numExperts).fill(0)
  for (const t of rows) for (const expert of chosenExperts(layer, t)) counts[expert]++
  return counts.map((count) => count / rows.length)
}

function favourite(shares: number[]): { expert: number; share: number } {
  const share = Math.max(...shares)
  return { expert: shares.indexOf(share), share }
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`
}
