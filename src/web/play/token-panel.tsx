import type { RouterStep } from '../../model/router/types.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import { OF_EXPERTS, OF_RANKS, rowsOf, verdictOf } from '../../trace/decision-text.ts'
import { useAnswer } from '../app/answer.ts'
import { ExpertChip } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import type { HeatPlace } from '../parts/heat-map.tsx'
import { tokenText } from '../parts/tokens.tsx'

export interface TokenPanelProps {
  model: string
  trace: RoutingTrace
  texts: readonly string[]
  place: HeatPlace
}

/** Every step of a router's decision about one token, with its numbers. */
export function TokenPanel({ model, trace, texts, place: { row, layerIndex } }: TokenPanelProps) {
  const layer = trace.layers[layerIndex]
  const K = layer.topK
  const own = `${model} ${layer.layer} ${row} ${layer.routerLogits.slice(row * layer.numExperts, (row + 1) * layer.numExperts)}`
  const key = `${own} ${JSON.stringify({ ...trace.interventions, replace: trace.interventions?.replace?.by })} ${layer.expertIndices}`
  const { value: decision, busy, error } = useAnswer('decision', [model, trace, layerIndex, row], key)
  const margin = layer.margins[row]
  return (
    <section class="card token-panel" aria-labelledby="token-heading" aria-busy={busy}>
      <h2 id="token-heading">
        <span class="quoted">{tokenText(texts[row])}</span> in layer {layer.layer}
      </h2>
      <p>
        Token {row}, goes to{' '}
        {Array.from(layer.expertIndices.subarray(row * K, (row + 1) * K), (e, rank) => (
          <span key={rank} class="went">
            {e < 0 ? 'dropped' : <ExpertChip expert={e} />} {layer.expertWeights[row * K + rank].toFixed(3)}
          </span>
        ))}
      </p>
      <p class="quiet">
        Margin to the best that was not chosen:{' '}
        {margin === null ? (
          '–'
        ) : (
          <Fact
            quiet
            value={margin.toFixed(4)}
            title="Margin"
            formula="last score that was chosen - best that was not"
            source={ENGINE}
          />
        )}
        . Undecidedness of the router:{' '}
        <Fact
          quiet
          value={`${layer.entropies[row].toFixed(3)} nats`}
          title="Entropy of the router's scores"
          formula="-sum of p ln p over all experts"
          inputs={[['at most, ln E', Math.log(layer.numExperts).toFixed(3)]]}
          source={ENGINE}
        />
        .
      </p>
      {error && (
        <p class="failure" role="alert">
          {error}
        </p>
      )}
      <ol class="router-steps">
        {decision?.steps
          .filter(({ applies }) => applies)
          .map((step, i) => (
            <StepItem key={`${step.name}${i}`} step={step} />
          ))}
      </ol>
      {decision && (
        <p class="quiet">
          {decision.agrees ? 'The steps come to what the run recorded.' : verdictOf(decision)}
        </p>
      )}
    </section>
  )
}

function StepItem({ step }: { step: RouterStep }) {
  return (
    <li>
      <h3>
        {step.name} <code>{step.formula}</code>
      </h3>
      <p>{step.sentence}</p>
      <Values heading="expert" step={step.name} rows={rowsOf(step, OF_EXPERTS)} />
      <Values heading="rank" step={step.name} rows={rowsOf(step, OF_RANKS)} />
    </li>
  )
}

interface ValuesProps {
  heading: string
  step: string
  rows: { label: string; values: string[] }[]
}

function Values({ heading, step, rows }: ValuesProps) {
  if (rows.length === 0) return null
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be reached with the keyboard
    <section class="values" tabIndex={0} aria-label={`Numbers of ${step} by ${heading}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">{heading}</th>
            {rows[0].values.map((_, i) => (
              <th scope="col" key={i}>
                {i}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ label, values }) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {values.map((value, i) => (
                <td key={i}>{value}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
