import { useState } from 'preact/hooks'
import { DEEPSEEK_V3, leftOut } from '../../cost/report.ts'
import { dollars, parametersText, percent, si, thousands } from '../../text/units.ts'
import { Slider } from '../parts/controls.tsx'
import { Fact } from '../parts/fact.tsx'
import { deepseekCost } from './published.ts'

const REPORT = 'DeepSeek-V3 report, arXiv 2412.19437, table 1 and section 4.'

/** Name, value, formula and inputs of each line of the bill. */
function billOf(price: number): [string, string, string, [string, string][]][] {
  const { run, cost } = deepseekCost(price)
  return [
    ['Tokens read in training', parametersText(run.tokens), 'as reported', []],
    [
      'Arithmetic of the weights',
      si(cost.weightFlops, 'FLOP'),
      '6 N D',
      [
        ['N, active', parametersText(run.active)],
        ['D, tokens', parametersText(run.tokens)],
      ],
    ],
    [
      'GPU hours',
      thousands(run.hours),
      'pre-training + longer context + post-training',
      Object.entries(DEEPSEEK_V3.hours).map(([part, hours]) => [part, thousands(hours)]),
    ],
    [
      'Use of the GPUs (bfloat16 peak)',
      percent(cost.utilisation.bfloat16),
      'FLOPs / seconds / peak',
      [
        ['peak', si(run.peak.bfloat16, 'FLOP/s')],
        ['hours of pre-training', thousands(run.pretrainingHours)],
      ],
    ],
    ['Price', dollars(cost.dollars), 'hours × price', [['an hour', `$${price.toFixed(2)}`]]],
    [
      'The same, dense',
      dollars(cost.dense.pretrainingDollars),
      'pre-training × FLOPs dense / FLOPs sparse',
      [['times the FLOPs', cost.dense.timesFlops.toFixed(2)]],
    ],
  ]
}

export function TrainingPart() {
  const [price, setPrice] = useState<number>(DEEPSEEK_V3.price)
  return (
    <section class="card" aria-labelledby="training-heading">
      <h2 id="training-heading">The bill of DeepSeek-V3's training</h2>
      <Slider
        label="Dollars a GPU hour"
        value={price}
        min={0.5}
        max={8}
        step={0.1}
        text={`$${price.toFixed(2)}`}
        onChange={setPrice}
      />
      <dl class="facts">
        {billOf(price).map(([name, value, formula, inputs]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <Fact value={value} title={name} formula={formula} inputs={inputs} source={REPORT} />
            </dd>
          </div>
        ))}
      </dl>
      <p>Not in it:</p>
      <ul>
        {leftOut(price).map(({ what, dollars: amount }) => (
          <li key={what}>
            {what}: {amount === null ? 'not published' : dollars(amount)}
          </li>
        ))}
      </ul>
    </section>
  )
}
