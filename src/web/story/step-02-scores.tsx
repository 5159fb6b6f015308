import type { RouterConfig } from '../../model/config.ts'
import { TryIt } from '../parts/controls.tsx'
import { ExpertBars, shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { Strip } from '../parts/strip.tsx'
import { LayerPicker, Size, Step, TheToken } from './parts.tsx'
import { useStory } from './state.tsx'
import { Down } from './step-01-token.tsx'

/** Of a score, by how the router scores. */
const FORMULAS: Record<RouterConfig['scoring'], string> = {
  softmax: 's = exp(z) / sum of exp(z) over all experts',
  sigmoid: 's = 1 / (1 + exp(-z))',
  none: 's = z',
}

export function ScoresStep() {
  const { layer, row, facts, router, vectors } = useStory()
  const { numExperts: E } = layer
  const D = facts.config.hiddenSize
  const scores = layer.scores.subarray(row * E, (row + 1) * E)
  const logits = layer.routerLogits.subarray(row * E, (row + 1) * E)
  const best = scores.indexOf(Math.max(...scores))
  return (
    <Step
      text={
        <>
          <p class="lead">
            In a layer wait <Size value={E} title="Experts of a layer (E)" /> small networks, the{' '}
            <b>experts</b>. They are built alike and learned different things.
          </p>
          <p>
            Before any of them runs, a tiny <b>router</b> looks at the token's{' '}
            <Size value={D} title="Numbers a token (D)" /> numbers. It keeps as many for each expert,
            multiplies the two lists and adds up: a large sum says that this expert suits this token. Here
            expert {best} fits <TheToken /> best, with{' '}
            <Fact
              value={shareText(scores[best])}
              title={`Score of expert ${best}`}
              formula={`z = x · Wr; ${FORMULAS[router.scoring]}`}
              inputs={Array.from(logits, (z, e) => [`z of expert ${e}`, z.toFixed(4)])}
              source={ENGINE}
            />
            .
          </p>
          <p>Nobody told the router what the experts are for. It learned this together with them.</p>
          <TryIt what="Look at the other layers: each has a router and experts of its own, and scores anew. Layers and experts are counted from 0, as in the code.">
            <LayerPicker />
          </TryIt>
        </>
      }
      picture={
        <div class="flow">
          <Strip values={vectors.input} label="What the router sees" />
          <Down />
          <p class="mono">router of layer {layer.layer}</p>
          <Down />
          <ExpertBars
            label={`Scores of the experts of layer ${layer.layer}`}
            values={scores}
            text={router.scoring === 'none' ? (z) => z.toFixed(2) : shareText}
          />
        </div>
      }
      caption={
        <>
          One bar an expert. Above: the token's numbers as they reach layer {layer.layer}; what stood before
          it in the text is already mixed in.
        </>
      }
    />
  )
}
