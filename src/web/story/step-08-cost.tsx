import { useState } from 'preact/hooks'
import { parametersText, si } from '../../text/units.ts'
import { useAnswer } from '../app/answer.ts'
import { useEngine } from '../app/engine.tsx'
import { costOfRun, lossOf, type RunCost } from '../cost/of-run.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { Fact } from '../parts/fact.tsx'
import { ShareBar } from '../parts/share-bar.tsx'
import { Step } from './parts.tsx'
import { SavedArithmetic, SavedReading } from './saved.tsx'
import { useStory } from './state.tsx'

export function CostStep() {
  const { run, facts, router } = useStory()
  const { models } = useEngine()
  const [own, setOwn] = useState<number | null>(null)
  const k = Math.min(own ?? router.topK, router.numExperts)
  const ready = models.has(facts.id) && run.model === facts.id
  const changed = useAnswer(
    'run',
    ready ? [facts.id, run.tokens, { interventions: { topK: k } }] : null,
    `${facts.id} ${run.tokens} ${k} ${ready}`,
    run,
  )
  const shown = changed.value ?? run
  const cost = costOfRun(facts.config, shown)
  const loss = lossOf(shown)
  return (
    <Step
      busy={changed.busy}
      text={
        <>
          <p class="lead">
            With {k} of {router.numExperts} experts a token, the model skips <SavedArithmetic cost={cost} />{' '}
            of the arithmetic, and reads <SavedReading cost={cost} /> less from memory.
          </p>
          <p>
            It does not skip everything: attention, tables and routers run for every token. And all experts
            must still be <b>stored</b>, since nobody knows which the next token needs.
          </p>
          <p>
            Is it as good? The loss says how surprised the model is by the text, in nats a token; less is
            better. With {k} experts it is{' '}
            {loss === null ? (
              '–'
            ) : (
              <Fact
                value={loss.toFixed(3)}
                title="Loss of the text"
                formula="mean of -ln p(token | the tokens before)"
                inputs={shown.losses.map((nats, t) => [`“${shown.texts[t + 1]}”`, nats.toFixed(3)])}
                source="Computed by the engine on this page."
              />
            )}
            .
          </p>
          <TryIt what={`Trained with ${router.topK}: what do fewer or more cost, and does the loss improve?`}>
            <Slider label="Experts a token (k)" value={k} min={1} max={router.numExperts} onChange={setOwn} />
          </TryIt>
        </>
      }
      picture={<CostBars cost={cost} />}
      caption="Lit: used for one token. The whole bar: if every expert ran. A FLOP is one multiplication or addition, and M stands for a million."
    />
  )
}

export function CostBars({ cost }: { cost: RunCost }) {
  const { parameters, flops, bytes } = cost
  return (
    <div class="costs">
      <ShareBar
        name="Parameters"
        part={parameters.active}
        whole={parameters.total}
        text={parametersText}
        formula="always used + K experts a layer"
      />
      <ShareBar
        name="Arithmetic a token"
        part={flops.active}
        whole={flops.everyExpert}
        text={(value) => si(value, 'FLOP')}
        formula="2 FLOP a weight of each product, and attention over the text"
      />
      <ShareBar
        name="Weights read a token"
        part={bytes.active}
        whole={bytes.everyExpert}
        text={(value) => si(value, 'B')}
        formula="4 bytes a weight that is used, one row of the input table"
      />
    </div>
  )
}
