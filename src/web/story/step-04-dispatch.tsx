import { useState } from 'preact/hooks'
import { expertColour } from '../../trace/colours.ts'
import { chosenExperts } from '../../trace/statistics.ts'
import { Choice, TryIt } from '../parts/controls.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { tokenText, wordText } from '../parts/tokens.tsx'
import { LayerPicker, listText, Step } from './parts.tsx'
import { useStory } from './state.tsx'

export function DispatchStep() {
  const { layer, run, chosen } = useStory()
  const { numExperts: E } = layer
  const [own, setOwn] = useState<number | null>(null)
  const expert = Math.min(own ?? chosen[0], E - 1)
  const rows = run.texts.flatMap((_, t) => (chosenExperts(layer, t).includes(expert) ? [t] : []))
  const visitors = rows.map((t) => `“${wordText(run.texts[t])}”`)
  const options = Array.from({ length: E }, (_, e) => ({ value: e, text: String(e) }))
  return (
    <Step
      text={
        <>
          <p class="lead">
            Every token of the text has made its choice. Now each goes to its experts: this is called{' '}
            <b>dispatch</b>.
          </p>
          <p>
            An expert takes all tokens that chose it in one go. Expert {expert} of layer {layer.layer} gets{' '}
            <Fact
              value={`${rows.length} of ${run.tokens.length}`}
              title={`Tokens of expert ${expert}`}
              formula="tokens that have the expert among their K"
              inputs={run.texts.map((text, t) => [
                `${t} “${tokenText(text)}”`,
                chosenExperts(layer, t).join(', '),
              ])}
              source={ENGINE}
            />{' '}
            tokens{rows.length > 0 ? <>: {listText(visitors)}</> : ', so it is not run at all'}.
          </p>
          <p>
            Some experts are popular, some get nobody. Training sees to it that over many texts all are used.
          </p>
          <TryIt what="Press an expert and see who comes to it.">
            <Choice label="Expert" options={options} value={expert} onChange={(e) => setOwn(e)} />
          </TryIt>
        </>
      }
      picture={
        <>
          <LayerPicker />
          <Lines expert={expert} />
        </>
      }
      caption={`Left the tokens, right the experts of layer ${layer.layer}. A line is a token on its way; a thicker one counts more.`}
    />
  )
}

const WIDTH = 340
const LINE = 26

/** Tokens on the left, experts on the right, a curve from each token to each expert that it chose. */
function Lines({ expert }: { expert: number }) {
  const { layer, run } = useStory()
  const { numExperts: E, topK: K } = layer
  const T = run.tokens.length
  const height = Math.max(T, E) * LINE + 10
  const tokenY = (t: number) => ((t + 0.5) * height) / T
  const expertY = (e: number) => ((e + 0.5) * height) / E
  const lines = run.texts.flatMap((_, t) =>
    Array.from(layer.expertIndices.subarray(t * K, (t + 1) * K), (e, rank) => ({
      t,
      e,
      weight: layer.expertWeights[t * K + rank],
    })),
  )
  const visible = lines
    .filter(({ e }) => e >= 0)
    .sort((a, b) => Number(a.e === expert) - Number(b.e === expert))
  const label = `${T} tokens and where they go; expert ${expert} has ${lines.filter(({ e }) => e === expert).length}`
  return (
    <svg class="lines" viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={label}>
      {visible.map(({ t, e, weight }) => (
        <path
          key={`${t}:${e}`}
          d={`M110 ${tokenY(t)} C 190 ${tokenY(t)}, 190 ${expertY(e)}, 278 ${expertY(e)}`}
          stroke={e === expert ? expertColour(e) : 'var(--rest)'}
          stroke-width={1 + 4 * weight}
          class={e === expert ? 'lit' : ''}
        />
      ))}
      {run.texts.map((text, t) => {
        const comes = lines.some((line) => line.t === t && line.e === expert)
        return (
          <text key={t} x="104" y={tokenY(t) + 5} class={comes ? 'end strong' : 'end'}>
            {tokenText(text)}
          </text>
        )
      })}
      {Array.from({ length: E }, (_, e) => (
        <g key={e}>
          <rect
            x="280"
            y={expertY(e) - 10}
            width="20"
            height="20"
            rx="4"
            fill={expertColour(e)}
            opacity={e === expert ? 1 : 0.35}
          />
          <text x="306" y={expertY(e) + 5} class={e === expert ? 'strong' : ''}>
            {e}
          </text>
        </g>
      ))}
    </svg>
  )
}
