import type { Domain } from '../../corpus/types.ts'
import { useEngine } from '../app/engine.tsx'
import type { ExpertCards, LayerCards } from '../build/site.ts'
import { Choice, TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { Fact } from '../parts/fact.tsx'
import { HeatMap } from '../parts/heat-map.tsx'
import { Step } from './parts.tsx'
import { useStory } from './state.tsx'

/** The expert that cares most about a kind of text, against another kind that it hardly sees. */
export function specialist(cards: LayerCards[]): {
  layer: number
  expert: number
  most: [Domain, number]
  least: [Domain, number]
} {
  const all = cards.flatMap(({ layer, experts }) =>
    experts.map(({ domains }, expert) => {
      const sorted = (Object.entries(domains) as [Domain, number][]).sort((a, b) => b[1] - a[1])
      return { layer, expert, most: sorted[0], least: sorted.at(-1)! }
    }),
  )
  return all.reduce((best, one) => (one.most[1] - one.least[1] > best.most[1] - best.least[1] ? one : best))
}

export function SentenceStep() {
  const { run, row, setRow, layerIndex, setLayerIndex, text, setText, facts } = useStory()
  const { opening, cards } = useEngine()
  const options = [
    { value: opening.prompt, text: 'the beginning' },
    ...opening.samples.map((one) => ({ value: one.text, text: one.name })),
  ]
  return (
    <Step
      text={
        <>
          <p class="lead">One token is an anecdote. Look at all tokens of a text, in all layers at once.</p>
          <Specialist
            cards={cards}
            id={facts.id}
            names={Object.fromEntries(opening.samples.map(({ domain, name }) => [domain, name]))}
          />
          <p>
            That is why the same model can be good at several things without every part working on all of
            them.
          </p>
          <TryIt what="Pick another kind of text and watch the pattern change.">
            <Choice label="Kind of text" options={options} value={text} onChange={setText} />
          </TryIt>
        </>
      }
      picture={
        <HeatMap
          trace={run.trace!}
          texts={run.texts}
          selected={{ row, layerIndex }}
          onSelect={(place) => {
            setRow(place.row)
            setLayerIndex(place.layerIndex)
          }}
        />
      }
      caption="Tokens down, layers across; in each cell one place an expert. A stronger colour is a larger weight. Below: how many tokens each expert got."
    />
  )
}

function Specialist({ cards, id, names }: { cards: ExpertCards; id: string; names: Record<string, string> }) {
  const own = cards[id]
  if (!own) return <p>The columns that light up differ from text to text: experts specialise.</p>
  const { layer, expert, most, least } = specialist(own)
  const { tokens, baseline, experts } = own.find((one) => one.layer === layer)!
  const share = ([domain, of]: [Domain, number], quiet = false) => (
    <Fact
      quiet={quiet}
      value={shareText(of)}
      title={`Tokens of ${names[domain]} that go to expert ${expert}`}
      formula="tokens with the expert among their K / tokens of that kind"
      inputs={[
        ...Object.entries(experts[expert].domains).map(([each, of]): [string, string] => [
          names[each],
          shareText(of),
        ]),
        ['without any preference (K / E)', shareText(baseline)],
      ]}
      source={`Counted when this page was built, over ${tokens} tokens of texts that the model was not trained on.`}
    />
  )
  return (
    <p>
      Experts <b>specialise</b>. Expert {expert} of layer {layer} takes {share(most)} of the tokens of{' '}
      {names[most[0]]}, and {share(least, true)} of those of {names[least[0]]}. Nobody assigned it: it came
      out of the training.
    </p>
  )
}
