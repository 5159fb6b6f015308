import { useState } from 'preact/hooks'
import type { Vectors } from '../engine/protocol.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { ExpertChip, shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { Strip } from '../parts/strip.tsx'
import { LayerPicker, listText, Step, TheToken } from './parts.tsx'
import { useStory } from './state.tsx'
import { Down } from './step-01-token.tsx'

/** Differences below this are float32's rounding. */
const SAME = 1e-5

/** A mix of the chosen experts' answers. */
interface Mix {
  /** [K] */
  weights: number[]
  /** [D] */
  sum: Float32Array
  /** Largest difference to what the model computed. */
  away: number
}

/** The answers mixed so that the first expert has the weight `first` and the others share the rest as before. */
export function mixOf({ weights, outputs, shared, combined }: Vectors, first: number): Mix {
  const rest = 1 - weights[0]
  const mixed = weights.map((w, k) => (k === 0 ? first : rest > 0 ? (w * (1 - first)) / rest : 0))
  const sum = combined.map((_, d) =>
    outputs.reduce((total, output, k) => total + mixed[k] * output[d], shared?.[d] ?? 0),
  )
  const away = Math.max(...sum.map((value, d) => Math.abs(value - combined[d])))
  return { weights: mixed, sum, away }
}

export function CombineStep() {
  const { vectors } = useStory()
  const { experts, weights } = vectors
  const [own, setOwn] = useState<number | null>(null)
  const first = own ?? weights[0]
  const mix = mixOf(vectors, first)
  return (
    <Step
      text={
        <>
          <Sentences mix={mix} />
          <TryIt what="Mix it differently: how much should the first expert count?">
            <Slider
              label={`Weight of expert ${experts[0]}`}
              value={Number(first.toFixed(3))}
              min={0}
              max={1}
              step={0.001}
              text={shareText(first)}
              onChange={setOwn}
            />
            <button type="button" onClick={() => setOwn(null)} disabled={own === null}>
              As the router chose
            </button>
          </TryIt>
        </>
      }
      picture={<Terms mix={mix} />}
      caption="The answers of the chosen experts, your mix of them, and the model's own result: with the router's weights the last two are equal."
    />
  )
}

function Sentences({ mix }: { mix: Mix }) {
  const { vectors, layer } = useStory()
  const { experts, shared } = vectors
  const terms = experts.map((e, k) => `${mix.weights[k].toFixed(2)} × expert ${e}`)
  return (
    <>
      <p class="lead">
        Each chosen expert turns the token's numbers into new ones. Their answers are <b>added up</b>, each
        times its weight.
      </p>
      <p>
        For <TheToken /> in layer {layer.layer}:{' '}
        <Fact
          quiet
          value={listText(terms)}
          title="Weights of the mix"
          formula="the first as the slider has it, the others share the rest as the router chose"
          inputs={experts.map((e, k) => [`the router's of expert ${e}`, vectors.weights[k].toFixed(4)])}
          source={ENGINE}
        />
        {shared ? ', and the shared expert, which every token passes' : ''}. The result is added to the token,
        which goes on to the next layer. Your mix is{' '}
        <Fact
          value={mix.away < SAME ? 'what the model computed' : `up to ${mix.away.toFixed(3)} away from it`}
          title="Largest difference to the layer's own result"
          formula="max |sum of w · expert(x) - layer(x)|"
          inputs={[
            ...experts.map((e, k): [string, string] => [`weight of expert ${e}`, mix.weights[k].toFixed(4)]),
            ['difference', mix.away.toExponential(2)],
          ]}
          source={ENGINE}
        />
        .
      </p>
    </>
  )
}

function Terms({ mix }: { mix: Mix }) {
  const { experts, outputs, shared, combined } = useStory().vectors
  const most = Math.max(...[...outputs, combined].flatMap((values) => Array.from(values, Math.abs)))
  return (
    <div class="flow left">
      <LayerPicker />
      {experts.map((e, k) => (
        <div class="term" key={e}>
          <span>
            <ExpertChip expert={e} /> × {mix.weights[k].toFixed(2)}
          </span>
          <Strip values={outputs[k]} label={`Answer of expert ${e}`} most={most} />
        </div>
      ))}
      {shared && (
        <div class="term">
          <span>shared × 1</span>
          <Strip values={shared} label="Answer of the shared expert" most={most} />
        </div>
      )}
      <Down />
      <div class="term">
        <span>your mix</span>
        <Strip values={mix.sum} label="Your mix" most={most} />
      </div>
      <div class="term">
        <span>the model's</span>
        <Strip values={combined} label="What the model computed" most={most} />
      </div>
    </div>
  )
}
