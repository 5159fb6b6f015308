import { cpSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ALL_DOMAINS, DOMAINS, type Domain, generateSample } from '../../corpus/index.ts'
import { documentsOfTokens, TextCodec } from '../../eval/documents.ts'
import { routedDocuments, textsOfTokens } from '../../eval/experts.ts'
import { layerSpecialisation } from '../../eval/specialisation.ts'
import { type LoadedModel, loadModel } from '../../load-model.ts'
import { mixturesOf } from '../../model/config.ts'
import { modelDirectory, PAGE_MODELS } from '../../package.ts'
import { FACTS } from '../../train/facts.ts'
import type { ModelFacts } from '../engine/protocol.ts'
import { runText } from '../engine/run.ts'
import { toStored } from '../engine/stored.ts'
import { vectorsOf } from '../engine/vectors.ts'
import { factExample } from './fact.ts'
import type { ExpertCards, LayerCards, OfferedModel, Opening } from './site.ts'

/** The one that has learned facts. */
const OF_FACTS: (typeof PAGE_MODELS)[number] = 'moe-facts'

const FILES = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
]
/** What the page opens with, and the mixture layer that the story follows. */
const PROMPT = 'Once upon a time'
const STORY_LAYER = 0
/** Documents that no training saw. */
const DRAW = { split: 'heldout', seed: 1 } as const
/** Of each domain, for the experts' cards. */
const CARD_TOKENS = 1000
const SAMPLE_TOKENS = 22

const NAMES: Record<(typeof DOMAINS)[number], string> = {
  story: 'a story',
  arithmetic: 'arithmetic',
  code: 'code',
  german: 'German',
  data: 'tables',
  dates: 'dates',
}

/** The models' files, for hosts that have no others. */
export function writeModels(folder: string): void {
  for (const name of PAGE_MODELS) {
    for (const file of FILES) cpSync(join(modelDirectory(name), file), join(folder, 'models', name, file))
  }
}

export function offeredModel(name: string): OfferedModel {
  const { size } = statSync(join(modelDirectory(name), 'model.safetensors'))
  return { id: name, name, url: `models/${name}`, bytes: size }
}

/** All that the page shows of the models before its own engine runs them. */
export async function writeData(folder: string): Promise<void> {
  for (const part of ['data', 'models']) mkdirSync(join(folder, part), { recursive: true })
  const write = (file: string, json: string) => writeFileSync(join(folder, file), json)
  write('models/index.json', JSON.stringify(PAGE_MODELS.map(offeredModel)))
  const cards: ExpertCards = {}
  let opening: Omit<Opening, 'fact'> | undefined
  let fact: Opening['fact'] = null
  for (const name of PAGE_MODELS) {
    const model = await loadModel(`tinymoe:${name}`)
    try {
      opening ??= await openingOf(model, name)
      if (name === OF_FACTS) fact = await factExample(model, name)
      const domains = name === OF_FACTS ? ALL_DOMAINS : DOMAINS
      if (mixturesOf(model.config.layers).length > 0) cards[name] = await cardsOf(model, domains)
    } finally {
      model.dispose()
    }
  }
  write('data/opening.json', toStored({ ...opening!, fact }))
  write('data/experts.json', JSON.stringify(cards))
}

async function openingOf(model: LoadedModel, name: string): Promise<Omit<Opening, 'fact'>> {
  const { config, tokenizer } = model
  const facts: ModelFacts = { id: name, name, config, hasTokenizer: true, remarks: [] }
  const tokens = await tokenizer!.encode(PROMPT)
  const layer = config.layers.findIndex(({ feedForward }) => feedForward.kind === 'moe')
  const samples = await Promise.all(
    DOMAINS.map(async (domain) => ({ domain, name: NAMES[domain], text: await beginning(model, domain) })),
  )
  return {
    prompt: PROMPT,
    facts,
    run: await runText({ facts, model, tokenizer }, tokens, {}),
    vectors: vectorsOf(model, tokens, layer + STORY_LAYER, tokens.length - 1),
    samples,
  }
}

/** The first tokens of a domain's document. */
async function beginning({ tokenizer }: LoadedModel, domain: Domain): Promise<string> {
  const ids = await tokenizer!.encode(generateSample(domain, DRAW.split, 0, DRAW.seed).text)
  return (await tokenizer!.decode(ids.slice(0, SAMPLE_TOKENS))).trimStart()
}

async function cardsOf(model: LoadedModel, domains: readonly Domain[]): Promise<LayerCards[]> {
  const codec = new TextCodec(model.dir, model.config, model.tokenizer)
  const documents = await documentsOfTokens(codec, domains, { ...DRAW, facts: FACTS }, CARD_TOKENS)
  const { trace, tokens } = await routedDocuments(model, documents)
  const texts = await textsOfTokens(tokens, codec)
  return trace.layers.map((routed) => {
    const layer = layerSpecialisation(routed, tokens, (id) => texts.get(id)!)
    return {
      layer: layer.layer,
      tokens: tokens.length,
      baseline: layer.baseline,
      experts: layer.load.shares.map((load, e) => ({
        load,
        typical: layer.typicalTokens[e].map(({ text, share, lift, count }) => ({ text, share, lift, count })),
        domains: Object.fromEntries(domains.map((domain) => [domain, layer.tokenShare[domain]?.[e] ?? 0])),
      })),
    }
  })
}
