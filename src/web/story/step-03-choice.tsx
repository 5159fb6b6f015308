import { useState } from 'preact/hooks'
import { interventionFor } from '../../model/router/interventions.ts'
import { route } from '../../model/router/route.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { ExpertBars, shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { LayerPicker, listText, Step, TheToken } from './parts.tsx'
import { useStory } from './state.tsx'

/** Experts whose weights a sentence lists. */
const LISTED = 4

/** The router's own choice for the token with another k, by the engine's routing. */
function useChoice(own: number | null) {
  const { layer, row, router } = useStory()
  const { numExperts: E } = layer
  const k = Math.min(own ?? router.topK, E)
  const logits = layer.routerLogits.slice(row * E, (row + 1) * E)
  const scores = layer.scores.subarray(row * E, (row + 1) * E)
  // A bias that was learned for choosing shows in what was compared; without one that is the scores.
  const compared = (layer.compared ?? layer.scores).subarray(row * E, (row + 1) * E)
  const bias = layer.compared ? compared.map((c, e) => c - scores[e]) : null
  const intervention = { ...interventionFor({ topK: k }, router, layer.layer), bias }
  const { expertIndices, expertWeights } = route(logits, router, { intervention })
  return { k, E, logits, compared, chosen: [...expertIndices], weights: [...expertWeights] }
}

export function ChoiceStep() {
  const { layer, router, facts } = useStory()
  const [own, setOwn] = useState<number | null>(null)
  const choice = useChoice(own)
  const { k, E, compared, chosen, weights } = choice
  return (
    <Step
      text={
        <>
          <p class="lead">
            Now the trick: only the best{' '}
            <Fact
              quiet
              value={k === 1 ? 'one' : String(k)}
              title="Experts a token (K)"
              formula="a size of config.json, or yours"
              inputs={[
                ['trained with', String(router.topK)],
                ['experts of the layer (E)', String(E)],
              ]}
              source={`The model ${facts.name}.`}
            />{' '}
            {k === 1 ? 'is' : 'are'} used. For <TheToken /> that is {k === 1 ? 'expert' : 'experts'}{' '}
            {listText(chosen)}.
          </p>
          <Weights {...choice} />
          <TryIt what={`${facts.name} was trained with ${router.topK}. Choose more or fewer.`}>
            <Slider label="Experts a token (k)" value={k} min={1} max={E} onChange={setOwn} />
          </TryIt>
        </>
      }
      picture={
        <>
          <LayerPicker />
          <ExpertBars
            label={`Experts of layer ${layer.layer}, the chosen ones lit`}
            values={compared}
            chosen={chosen}
            text={router.scoring === 'none' ? (z) => z.toFixed(2) : shareText}
            remark={(e) =>
              chosen.includes(e) ? `weight ${weights[chosen.indexOf(e)].toFixed(2)}` : 'sleeps'
            }
          />
        </>
      }
      caption="Lit: chosen. Grey: not run at all for this token."
    />
  )
}

function Weights({ k, E, logits, chosen, weights }: ReturnType<typeof useChoice>) {
  const { router } = useStory()
  const listed = chosen.slice(0, LISTED).map((e, rank) => `expert ${e}: ${weights[rank].toFixed(3)}`)
  const softmax = router.weighting === 'softmax-of-chosen'
  return (
    <p>
      The scores of the chosen become their <b>weights</b>, which say how much each counts:{' '}
      <Fact
        value={`${listed.join(', ')}${k > LISTED ? ' …' : ''}`}
        title="Weights of the chosen"
        formula={softmax ? 'w = softmax of the chosen z' : 'w = s / sum of the chosen s'}
        inputs={chosen.map((e) => [`z of expert ${e}`, logits[e].toFixed(4)])}
        source={ENGINE}
      />
      . {k === E ? 'Nobody sleeps, so ' : 'All others do nothing for this token, so '}
      <Fact
        value={shareText(1 - k / E)}
        title="Experts of the layer that sleep"
        formula="1 - K / E"
        inputs={[
          ['K, chosen', String(k)],
          ['E, experts', String(E)],
          ['asleep', String(E - k)],
        ]}
        source={ENGINE}
      />{' '}
      of the layer's experts are saved.
    </p>
  )
}
