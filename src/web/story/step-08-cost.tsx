import { useState } from 'preact/hooks'
import { bytesByWidth } from '../../cost/widths.ts'
import type { ModelConfig } from '../../model/config.ts'
import { parametersText, si } from '../../text/units.ts'
import { useAnswer } from '../app/answer.ts'
import { useEngine } from '../app/engine.tsx'
import { costOfRun, lossOf, type RunCost } from '../cost/of-run.ts'
import { Slider, TryIt } from '../parts/controls.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
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
            With{' '}
            <Fact
              quiet
              value={`${k} of ${router.numExperts}`}
              title="Experts a token (K of E)"
              formula="sizes of config.json, K as the slider has it"
              inputs={[['trained with', String(router.topK)]]}
              source={`The model ${facts.name}.`}
            />{' '}
            experts a token, the model skips <SavedArithmetic cost={cost} /> of the arithmetic, and reads{' '}
            <SavedReading cost={cost} /> less from memory.
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
                source={ENGINE}
              />
            )}
            .
          </p>
          <TryIt what={`Trained with ${router.topK}: what do fewer or more cost, and does the loss improve?`}>
            <Slider label="Experts a token (k)" value={k} min={1} max={router.numExperts} onChange={setOwn} />
          </TryIt>
        </>
      }
      picture={
        <>
          <CostBars cost={cost} />
          <Widths config={facts.config} cost={cost} />
        </>
      }
      caption="Lit: used for one token. The whole bar: if every expert ran. A FLOP is one multiplication or addition."
    />
  )
}

/** The bytes that are read for a token, by what a weight is held in. */
function Widths({ config, cost }: { config: ModelConfig; cost: RunCost }) {
  return (
    <table class="widths">
      <caption>Each parameter may be held in fewer bits, which saves on top (float32 has 32):</caption>
      <thead>
        <tr>
          <th scope="col">
            <span class="unseen">width</span>
          </th>
          <th scope="col">stored</th>
          <th scope="col">read a token</th>
        </tr>
      </thead>
      <tbody>
        {bytesByWidth(config, cost.expertsRun).map(({ name, stored, read, readByAll }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{si(stored, 'B')}</td>
            <td>
              <Fact
                quiet
                value={si(read, 'B')}
                title={`Memory read a token, parameters held in ${name}`}
                formula="bytes of what is used: numbers and the scales that they share"
                inputs={[
                  ['all parameters', si(stored, 'B')],
                  ['if every expert ran', si(readByAll, 'B')],
                ]}
                source="Counted from the model's shapes and the rule of `tinymoe quantize`. This page itself computes in float32."
              />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
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
        formula="2 FLOP a parameter of each product, and attention over the text"
      />
      <ShareBar
        name="Memory read a token"
        part={bytes.active}
        whole={bytes.everyExpert}
        text={(value) => si(value, 'B')}
        formula="4 bytes a parameter that is used, one row of the input table"
      />
    </div>
  )
}
