import { useState } from 'preact/hooks'
import { rebound } from '../../cost/rebound.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { dollars, parametersText, thousands } from '../../text/units.ts'
import { deepseekCost, published } from '../calculator/published.ts'
import { costOfRun } from '../cost/of-run.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { Fact } from '../parts/fact.tsx'
import { ShareBar } from '../parts/share-bar.tsx'
import { listText, Step, TheToken } from './parts.tsx'
import { useStory } from './state.tsx'

const START = 1.3

export function ArticleStep() {
  const [elasticity, setElasticity] = useState(START)
  const model = published(DEEPSEEK_V3.model)
  const { run, cost } = deepseekCost(DEEPSEEK_V3.price)
  const { use, spend } = rebound(cost.dense.timesFlops, elasticity)
  const { total, active, printed } = { ...model.published, total: run.total, active: run.active }
  const report = 'DeepSeek-V3 report, arXiv 2412.19437, table 1 and section 4.'
  return (
    <Step
      text={
        <>
          <p class="lead">
            DeepSeek-V3 is the same idea, large: {printed.total} parameters, of which a token uses{' '}
            {printed.active},{' '}
            <Fact
              value={shareText(active / total)}
              title="Share of DeepSeek-V3 that runs for a token"
              formula="active / total"
              inputs={[
                ['active', parametersText(active)],
                ['total', parametersText(total)],
              ]}
              source={model.published.source}
            />
            .
          </p>
          <p>
            Its last training run took {thousands(run.hours)} hours of one GPU,{' '}
            <Fact
              value={dollars(cost.dollars)}
              title="Price of the training run"
              formula="GPU hours × dollars an hour"
              inputs={[
                ['GPU hours', thousands(run.hours)],
                ['an hour', `$${run.price}`],
              ]}
              source={report}
            />{' '}
            at rent; research, failed tries and people are not in it. With every parameter active the same
            tokens would have needed{' '}
            <Fact
              value={`${cost.dense.timesFlops.toFixed(1)} times`}
              title="Arithmetic of the same training, dense"
              formula="(6 N total D + attention) / (6 N active D + attention)"
              inputs={[
                ['N active', parametersText(run.active)],
                ['N total', parametersText(run.total)],
                ['D, tokens', parametersText(run.tokens)],
              ]}
              source={report}
            />{' '}
            the arithmetic.
          </p>
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
      picture={
        <div class="costs">
          <ShareBar
            name="DeepSeek-V3, a token"
            part={active}
            whole={total}
            text={parametersText}
            formula="as published"
          />
          <div class="pair">
            <p>
              <b>×{use.toFixed(use < 10 ? 1 : 0)}</b> tokens used
            </p>
            <p>
              <b>×{spend.toFixed(2)}</b> spent
            </p>
          </div>
          <p class="verdict" aria-live="polite">
            {spend > 1.005
              ? 'More is spent, although each token is cheaper.'
              : spend < 0.995
                ? 'Less is spent.'
                : 'As much is spent as before.'}
          </p>
          <Summary />
        </div>
      }
      caption={`If a token costs 1/${cost.dense.timesFlops.toFixed(1)}: use grows by that factor to the power e, spending to the power e - 1. The calculator has the curve.`}
    />
  )
}

/** What a reader can say now. */
function Summary() {
  const story = useStory()
  const { run, row, facts } = story
  const cost = costOfRun(facts.config, run)
  const used = cost.used!
  const { layer } = run.trace!.layers[0]
  return (
    <aside class="summary" aria-label="In short">
      <h2>In short</h2>
      <p>
        <b>Which</b> parameters ran for <TheToken />? {parametersText(used.active[row])} of{' '}
        {parametersText(used.total)}: what all tokens share, and of layer {layer} experts{' '}
        {listText(used.experts[row][0])}.
      </p>
      <p>
        <b>Why</b> these? The layer's router scored them highest for this token.
      </p>
      <p>
        <b>What did it save?</b> {shareText(1 - cost.flops.active / cost.flops.everyExpert)} of the arithmetic
        and {shareText(1 - cost.bytes.active / cost.bytes.everyExpert)} of the reading, but none of the
        storage.
      </p>
    </aside>
  )
}
