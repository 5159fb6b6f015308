import { useState } from 'preact/hooks'
import { impliedElasticity, rebound, reboundCurve } from '../../cost/rebound.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { Slider } from '../parts/controls.tsx'
import { Fact } from '../parts/fact.tsx'
import { PlotFigure } from '../parts/plot.tsx'
import { deepseekCost } from './published.ts'

const CURVE = { max: 2, steps: 96 }

export function ReboundPart() {
  const [factor, setFactor] = useState(() =>
    Number(deepseekCost(DEEPSEEK_V3.price).cost.dense.timesFlops.toFixed(1)),
  )
  const [elasticity, setElasticity] = useState(1.3)
  const [useFactor, setUseFactor] = useState(30)
  const { use, spend } = rebound(factor, elasticity)
  const implied = impliedElasticity(factor, useFactor)
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
          inputs={[
            ['f, times cheaper', String(factor)],
            ['e, elasticity', elasticity.toFixed(2)],
          ]}
          source="Demand of constant elasticity."
        />
        , spending becomes{' '}
        <Fact
          value={`×${spend.toFixed(2)}`}
          title="Spending"
          formula="f^(e - 1)"
          inputs={[
            ['f, times cheaper', String(factor)],
            ['e, elasticity', elasticity.toFixed(2)],
          ]}
          source="Demand of constant elasticity."
        />{' '}
        of what it was.
      </p>
      <PlotFigure
        label={`Total spend by elasticity; at ${elasticity} it is ${spend.toFixed(2)} times what it was`}
        options={({ curvePlot }) =>
          curvePlot(reboundCurve(factor, CURVE.max, CURVE.steps), [rebound(factor, elasticity)], factor)
        }
      />
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
            source="Demand of constant elasticity."
          />
        )}
        .
      </p>
    </section>
  )
}
