import type { FactsSize } from '../corpus/facts/world.ts'
import type { Split } from '../corpus/index.ts'
import { InputError } from '../errors.ts'
import { mixtureAt } from '../model/config.ts'
import { canSpare } from '../model/router/interventions.ts'
import type { RoutingTrace } from '../model/trace.ts'
import { chosenExperts } from '../trace/statistics.ts'
import type { TextCodec } from './documents.ts'
import { answerFacts, type FactAnswer, type FactQuestion, factQuestions } from './facts.ts'
import type { EvalForward, Watch } from './loss.ts'
import { type Proportion, proportion } from './proportion.ts'

/** Tokens of a question at which the trace shows a choice of experts: the name's last, and the last before the value. */
export const PLACES = ['name', 'question'] as const
export type Place = (typeof PLACES)[number]

export type FactExpertsReport = Awaited<ReturnType<typeof factExperts>>

/** What the model forgets without each expert, over all facts that it has right with all of them. */
export async function factExperts(
  model: EvalForward,
  codec: TextCodec,
  size: FactsSize,
  split: Split,
  { signal, onShare }: Watch = {},
) {
  const questions = await factQuestions(codec, size, split)
  const uses = new Uses(questions)
  const answers = await answerFacts(model, questions, {
    signal,
    onTrace: (trace, batch) => uses.add(trace, batch),
  })
  const known = [...answers.keys()].filter((i) => answers[i].right)
  if (known.length === 0) return { known: 0, asked: questions.length, layers: [] }
  const asked = known.map((i) => questions[i])
  const layers: ReturnType<typeof layerFacts>[] = []
  for (const [i, layer] of uses.layers.entries()) {
    const share = (part: number) => onShare?.((i + part) / uses.layers.length)
    const without = await answersWithout(model, asked, layer, { signal, onShare: share })
    if (without) layers.push(layerFacts(layer, without, (place, at) => uses.of(layer, place, known[at])))
  }
  return { known: known.length, asked: questions.length, layers }
}

/** Answers with each expert of a mixture layer switched off in turn [E]; null where too few would be left. */
export async function answersWithout(
  model: EvalForward,
  asked: readonly FactQuestion[],
  layer: number,
  { signal, onShare }: Watch = {},
): Promise<FactAnswer[][] | null> {
  const { router } = mixtureAt(model.config, layer)
  if (!canSpare(0, router, layer)) return null
  const without: FactAnswer[][] = []
  for (let expert = 0; expert < router.numExperts; expert++) {
    const interventions = { disable: [{ expert, layer }] }
    const share = (part: number) => onShare?.((expert + part) / router.numExperts)
    without.push(await answerFacts(model, asked, { signal, interventions, onShare: share }))
  }
  return without
}

/** Which experts the routers chose at the places of each question. */
class Uses {
  private readonly chosen = new Map<number, Record<Place, number[][]>>()

  constructor(private readonly questions: readonly FactQuestion[]) {}

  get layers(): number[] {
    return [...this.chosen.keys()]
  }

  /** `batch`: the questions that the sequences of the trace are. */
  add({ rows, layers }: RoutingTrace, batch: readonly number[]): void {
    for (const layer of layers) {
      const places = this.chosen.get(layer.layer) ?? { name: [], question: [] }
      this.chosen.set(layer.layer, places)
      for (const [row, { sequence, position }] of rows.entries()) {
        const { nameEnd, from } = this.questions[batch[sequence]]
        const experts = [...chosenExperts(layer, row)]
        if (position === nameEnd) places.name[batch[sequence]] = experts
        if (position === from - 1) places.question[batch[sequence]] = experts
      }
    }
  }

  /** @throws InputError where the trace has not shown the place */
  of(layer: number, place: Place, question: number): number[] {
    const experts = this.chosen.get(layer)?.[place][question]
    if (!experts) throw new InputError(`facts: no trace of question ${question} in layer ${layer}`)
    return experts
  }
}

/** `without[e]`: answers to the known facts without expert e; `usedAt`: the experts chosen at a place of one of them. */
export function layerFacts(
  layer: number,
  without: readonly (readonly FactAnswer[])[],
  usedAt: (place: Place, fact: number) => readonly number[],
) {
  const lostOf = (pairs: { fact: number; expert: number }[]): Proportion =>
    proportion(pairs.filter(({ fact, expert }) => !without[expert][fact].right).length, pairs.length)
  const pairs = without[0].flatMap((_, fact) => without.map((_, expert) => ({ fact, expert })))
  const places = PLACES.map((place) => {
    const used = (pair: (typeof pairs)[number]) => usedAt(place, pair.fact).includes(pair.expert)
    return [
      place,
      {
        /** Facts lost without an expert that was chosen there, of all pairs of a fact and such an expert. */
        chosen: lostOf(pairs.filter(used)),
        /** The same of every other expert of the layer. */
        others: lostOf(pairs.filter((pair) => !used(pair))),
      },
    ] as const
  })
  return {
    layer,
    /** Facts lost without each expert [E], of those known. */
    lost: without.map((answers) => proportion(answers.filter(({ right }) => !right).length, answers.length)),
    places: Object.fromEntries(places) as Record<Place, (typeof places)[number][1]>,
  }
}
