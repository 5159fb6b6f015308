import { useState } from 'preact/hooks'
import { interventionFor } from '../../model/router/interventions.ts'
import { route } from '../../model/router/route.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { ExpertBars, shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { LayerPicker, listText, Step, TheToken } from './parts.tsx'
import { useStory } from './state.tsx'

export function ChoiceStep() {
  const { layer, row, router, facts } = useStory()
  const { numExperts: E } = layer
  const [own, setOwn] = useState<number | null>(null)
  const k = Math.min(own ?? router.topK, E)
  const logits = layer.routerLogits.slice(row * E, (row + 1) * E)
  // A bias that was learned for choosing shows in what was compared; without one that is the scores.
  const scores = (layer.compared ?? layer.scores).subarray(row * E, (row + 1) * E)
  const bias = layer.compared ? scores.map((c, e) => c - layer.scores[row * E + e]) : null
  const intervention = interventionFor({ topK: k }, router, layer.layer)
  const { expertIndices, expertWeights } = route(logits, router, { intervention, scoreBias: bias })
  const chosen = [...expertIndices]
  const weights = chosen.map((e, rank) => `expert ${e}: ${expertWeights[rank].toFixed(3)}`)
  const saved = 1 - k / E
  return (
    <Step
      text={
        <>
          <p class="lead">
            Now the trick: only the best {k === 1 ? 'one is' : `${k} are`} used. For <TheToken /> that is{' '}
            {k === 1 ? 'expert' : 'experts'} {listText(chosen)}.
          </p>
          <p>
            The scores of the chosen become their <b>weights</b>, which say how much each counts:{' '}
            <Fact
              value={weights.length > 4 ? `${weights.slice(0, 4).join(', ')} …` : weights.join(', ')}
              title="Weights of the chosen"
              formula={
                router.weighting === 'softmax-of-chosen'
                  ? 'w = softmax of the chosen z'
                  : 'w = s / sum of the chosen s'
              }
              inputs={chosen.map((e) => [`z of expert ${e}`, logits[e].toFixed(4)])}
              source={ENGINE}
            />
            . The other {E - k} do nothing for this token, so{' '}
            <Fact
              value={shareText(saved)}
              title="Experts of the layer that sleep"
              formula="1 - K / E"
              inputs={[
                ['K, chosen', String(k)],
                ['E, experts', String(E)],
              ]}
              source={ENGINE}
            />{' '}
            of the layer's experts are saved.
          </p>
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
            values={scores}
            chosen={chosen}
            text={router.scoring === 'none' ? (z) => z.toFixed(2) : shareText}
            remark={(e) =>
              chosen.includes(e) ? `weight ${expertWeights[chosen.indexOf(e)].toFixed(2)}` : 'sleeps'
            }
          />
        </>
      }
      caption="Lit: chosen. Grey: not run at all for this token."
    />
  )
}
