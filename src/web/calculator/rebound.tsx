import { useState } from 'preact/hooks'
import { impliedElasticity, rebound, reboundCurve } from '../../cost/rebound.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { Slider } from '../parts/controls.tsx'
import { Fact } from '../parts/fact.tsx'
import { PlotFigure } from '../parts/plot.tsx'
import { deepseekCost } from './published.ts'

const CURVE = { max: 2, steps: 96 }
export const DEMAND = 'Demand of constant elasticity.'
const START = { elasticity: 1.3, useFactor: 30 }

/** What sparsity saved of DeepSeek-V3's training, to a digit as the slider has it. */
function savedInTraining(): number {
  return Number(deepseekCost(DEEPSEEK_V3.price).cost.dense.timesFlops.toFixed(1))
}

export function reboundInputs(factor: number, elasticity: number): [string, string][] {
  return [
    ['f, times cheaper', String(Number(factor.toFixed(2)))],
    ['e, elasticity', elasticity.toFixed(2)],
  ]
}

export function ReboundPart() {
  const [factor, setFactor] = useState(savedInTraining)
  const [elasticity, setElasticity] = useState(START.elasticity)
  const { use, spend } = rebound(factor, elasticity)
  const inputs = reboundInputs(factor, elasticity)
  return (
    <section class="card" aria-labelledby="rebound-heading">
      <h2 id="rebound-heading">Cheaper tokens, more use</h2>
      <Slider
        label="A token gets cheaper by"
        value={factor}
        min={1}
        max={100}
        step={0.1}
        text={`${factor} times`}
        onChange={setFactor}
      />
      <Slider
        label="Elasticity of demand"
        value={elasticity}
        min={0}
        max={CURVE.max}
        step={0.05}
        text={elasticity.toFixed(2)}
        onChange={setElasticity}
      />
      <p aria-live="polite">
        Use grows{' '}
        <Fact
          value={`×${use.toFixed(2)}`}
          title="Growth of use"
          formula="f^e"
          inputs={inputs}
          source={DEMAND}
        />
        , spending becomes{' '}
        <Fact
          value={`×${spend.toFixed(2)}`}
          title="Spending"
          formula="f^(e - 1)"
          inputs={inputs}
          source={DEMAND}
        />{' '}
        of what it was.
      </p>
      <PlotFigure
        label={`Total spend by elasticity; at ${elasticity} it is ${spend.toFixed(2)} times what it was`}
        options={({ curvePlot }) =>
          curvePlot(reboundCurve(factor, CURVE.max, CURVE.steps), [rebound(factor, elasticity)], factor)
        }
      />
      <Implied factor={factor} />
    </section>
  )
}

/** The question turned round: use grew, so what was the elasticity? */
function Implied({ factor }: { factor: number }) {
  const [useFactor, setUseFactor] = useState(START.useFactor)
  const implied = impliedElasticity(factor, useFactor)
  return (
    <>
      <Slider
        label="Suppose use grew"
        value={useFactor}
        min={1}
        max={200}
        text={`${useFactor} times`}
        onChange={setUseFactor}
      />
      <p>
        Then the elasticity was{' '}
        {implied === null ? (
          'unknown, since the price did not move'
        ) : (
          <Fact
            value={implied.toFixed(2)}
            title="Elasticity that this means"
            formula="ln(growth of use) / ln(times cheaper)"
            inputs={[
              ['growth of use', String(useFactor)],
              ['times cheaper', String(factor)],
            ]}
            source={DEMAND}
          />
        )}
        .
      </p>
    </>
  )
}
