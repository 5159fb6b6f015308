import { useState } from 'preact/hooks'
import { rebound } from '../../cost/rebound.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { dollars, parametersText, thousands } from '../../text/units.ts'
import { deepseekCost, published } from '../calculator/published.ts'
import { DEMAND, reboundInputs } from '../calculator/rebound.tsx'
import { costOfRun } from '../cost/of-run.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { Fact } from '../parts/fact.tsx'
import { ShareBar } from '../parts/share-bar.tsx'
import { listText, Step, TheToken } from './parts.tsx'
import { SavedArithmetic, SavedReading } from './saved.tsx'
import { useStory } from './state.tsx'
import { ParametersRan } from './step-05-compute.tsx'

/** Of the slider at the start. */
const ELASTICITY = 1.3
/** Spending that is nearer to what it was counts as equal. */
const EQUAL = 0.005

const REPORT = 'DeepSeek-V3 report, arXiv 2412.19437, table 1 and section 4.'

export function ArticleStep() {
  const [elasticity, setElasticity] = useState(ELASTICITY)
  const { timesFlops } = deepseekCost(DEEPSEEK_V3.price).cost.dense
  return (
    <Step
      text={
        <>
          <Bill />
          <p>
            Do cheaper tokens mean that less is spent? Not if use grows faster than the price falls.
            Economists call that a rebound (Jevons saw it with coal, 1865).
          </p>
          <TryIt what="How strongly does use answer to price? At 1 both cancel.">
            <Slider
              label="Elasticity of demand"
              value={elasticity}
              min={0}
              max={2}
              step={0.05}
              text={elasticity.toFixed(2)}
              onChange={setElasticity}
            />
          </TryIt>
        </>
      }
      picture={<Rebound factor={timesFlops} elasticity={elasticity} />}
      caption={`If a token costs 1/${timesFlops.toFixed(1)}: use grows by that factor to the power e, spending to the power e - 1. The calculator has the curve.`}
    />
  )
}

/** What DeepSeek-V3 is, and what its training cost. */
function Bill() {
  const model = published(DEEPSEEK_V3.model)
  const { run, cost } = deepseekCost(DEEPSEEK_V3.price)
  const { printed, source } = model.published
  const sizes: [string, string][] = [
    ['N active', parametersText(run.active)],
    ['N total', parametersText(run.total)],
  ]
  return (
    <>
      <p class="lead">
        DeepSeek-V3 is the same idea, large: {printed.total} parameters, of which a token uses{' '}
        {printed.active},{' '}
        <Fact
          value={shareText(run.active / run.total)}
          title="Share of DeepSeek-V3 that runs for a token"
          formula="N active / N total"
          inputs={sizes}
          source={source}
        />
        .
      </p>
      <p>
        Its last training run took{' '}
        <Fact
          quiet
          value={thousands(run.hours)}
          title="GPU hours of the training run"
          formula="pre-training + longer context + post-training"
          inputs={Object.entries(DEEPSEEK_V3.hours).map(([part, hours]) => [part, thousands(hours)])}
          source={REPORT}
        />{' '}
        hours of one GPU,{' '}
        <Fact
          value={dollars(cost.dollars)}
          title="Price of the training run"
          formula="GPU hours × dollars an hour"
          inputs={[
            ['GPU hours', thousands(run.hours)],
            ['an hour', `$${run.price}`],
          ]}
          source={REPORT}
        />{' '}
        at rent; research, failed tries and people are not in it. With every parameter active the same tokens
        would have needed{' '}
        <Fact
          value={`${cost.dense.timesFlops.toFixed(1)} times`}
          title="Arithmetic of the same training, dense"
          formula="(6 N total D + attention) / (6 N active D + attention)"
          inputs={[...sizes, ['D, tokens', parametersText(run.tokens)]]}
          source={REPORT}
        />{' '}
        the arithmetic.
      </p>
    </>
  )
}

function Rebound({ factor, elasticity }: { factor: number; elasticity: number }) {
  const { published: figures } = published(DEEPSEEK_V3.model)
  const { use, spend } = rebound(factor, elasticity)
  const inputs = reboundInputs(factor, elasticity)
  const said =
    spend > 1 + EQUAL
      ? 'More is spent, although each token is cheaper.'
      : spend < 1 - EQUAL
        ? 'Less is spent.'
        : 'As much is spent as before.'
  return (
    <div class="costs">
      <ShareBar
        name="DeepSeek-V3, a token"
        part={figures.active!}
        whole={figures.total!}
        text={parametersText}
        formula="as published"
      />
      <div class="pair">
        <p>
          <b>
            <Fact
              quiet
              value={`×${use.toFixed(use < 10 ? 1 : 0)}`}
              title="Growth of use"
              formula="f^e"
              inputs={inputs}
              source={DEMAND}
            />
          </b>{' '}
          tokens used
        </p>
        <p>
          <b>
            <Fact
              quiet
              value={`×${spend.toFixed(2)}`}
              title="Spending"
              formula="f^(e - 1)"
              inputs={inputs}
              source={DEMAND}
            />
          </b>{' '}
          spent
        </p>
      </div>
      <p class="verdict" aria-live="polite">
        {said}
      </p>
      <Summary />
    </div>
  )
}

/** What a reader can say now. */
function Summary() {
  const { run, row, facts } = useStory()
  const cost = costOfRun(facts.config, run)
  const used = cost.used!
  const { layer } = run.trace!.layers[0]
  return (
    <aside class="summary" aria-label="In short">
      <h2>In short</h2>
      <p>
        <b>Which</b> parameters ran for <TheToken />? <ParametersRan quiet />: what every token uses, and the
        experts that were chosen for it: {listText(used.experts[row][0])} in layer {layer}, and so on.
      </p>
      <p>
        <b>Why</b> these? In each layer a router scored all experts for this token, and these scored best.
      </p>
      <p>
        <b>What did it save?</b> <SavedArithmetic cost={cost} /> of the arithmetic and{' '}
        <SavedReading cost={cost} /> of the reading, but none of the storage.
      </p>
    </aside>
  )
}
