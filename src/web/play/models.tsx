import { useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import { sum } from '../../sums.ts'
import { parametersText, si } from '../../text/units.ts'
import { useEngine } from '../app/engine.tsx'
import { costOfRun, lossOf } from '../cost/of-run.ts'
import type { ModelFacts, Run } from '../engine/protocol.ts'
import { Busy } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { Fact } from '../parts/fact.tsx'
import { HeatMap } from '../parts/heat-map.tsx'
import { tokenText } from '../parts/tokens.tsx'
import { QUANTITIES } from './quantities.ts'
import { usePlay } from './state.tsx'

interface Contestant {
  facts: ModelFacts
  run: Run
}

/** The models that were trained on the same texts and so have the same tokens. */
function useComparable() {
  const { offered, opening } = useEngine()
  return offered.filter(({ id }) => id !== opening.fact?.model)
}

/** Runs the text of the playground through every model that can be compared, when asked to. */
function useContest() {
  const { need, client } = useEngine()
  const offered = useComparable()
  const { prompt, before, promptTokens } = usePlay()
  const [found, setFound] = useState<Contestant[] | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string | null>(null)
  const compare = async () => {
    setBusy(true)
    setError(null)
    try {
      const text = prompt + before.texts.slice(promptTokens).join('')
      const contestants: Contestant[] = []
      for (const { id } of offered) {
        const facts = await need(id)
        const { tokens } = await client.ask('encode', [id, text])
        contestants.push({ facts, run: await client.ask('run', [id, tokens, { timed: true }]) })
      }
      setFound(contestants)
    } catch (failure) {
      setError(messageOf(failure))
    } finally {
      setBusy(false)
    }
  }
  return { found, busy, error, compare }
}

/** The same text through all models that can be compared. */
export function Models() {
  const offered = useComparable()
  const { found, busy, error, compare } = useContest()
  const { models } = useEngine()
  const others = offered.filter(({ id }) => !models.has(id))
  return (
    <section class="card models" aria-labelledby="models-heading">
      <h2 id="models-heading">Side by side</h2>
      <p>
        The same text through {offered.map(({ name }) => name).join(', ')}, all trained on the same texts.
        What is not here yet is fetched:{' '}
        <Fact
          quiet
          value={si(sum(others.map(({ bytes }) => bytes ?? 0)), 'B')}
          title="Weights of the other models"
          formula="sum of their files"
          inputs={others.map(({ name, bytes }) => [name, bytes === null ? 'not known' : si(bytes, 'B')])}
          source="Sizes of the files that this page offers."
        />
        .
      </p>
      <button type="button" onClick={compare} disabled={busy}>
        Compare the models
      </button>
      <Busy busy={busy} />
      {error && (
        <p class="failure" role="alert">
          {error}
        </p>
      )}
      {found && <Table found={found} />}
      {found?.map(({ facts, run }) =>
        run.trace ? (
          <details key={facts.id}>
            <summary>Routing of {facts.name}</summary>
            <HeatMap
              trace={run.trace}
              texts={run.texts}
              selected={{ row: -1, layerIndex: -1 }}
              onSelect={() => {}}
            />
          </details>
        ) : null,
      )}
    </section>
  )
}

function Table({ found }: { found: Contestant[] }) {
  const all = found.map(({ facts, run }) => ({
    facts,
    run,
    cost: costOfRun(facts.config, run),
    loss: lossOf(run),
  }))
  const rows: [quantity: keyof typeof QUANTITIES, text: (one: (typeof all)[number]) => string][] = [
    ['total', ({ cost }) => parametersText(cost.parameters.total)],
    ['active', ({ cost }) => parametersText(cost.parameters.active)],
    ['flops', ({ cost }) => si(cost.flops.active, 'FLOP')],
    ['bytes', ({ cost }) => si(cost.bytes.active, 'B')],
    ['loss', ({ loss }) => loss?.toFixed(4) ?? '–'],
    ['ms', ({ run }) => `${run.ms?.toFixed(1) ?? '–'} ms`],
    ['next', ({ run }) => `${tokenText(run.next[0].text)} ${shareText(run.next[0].probability)}`],
  ]
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be reached with the keyboard
    <section class="values" tabIndex={0} aria-label="Models side by side">
      <table>
        <thead>
          <tr>
            <th scope="col">
              <span class="unseen">quantity</span>
            </th>
            {all.map(({ facts }) => (
              <th scope="col" key={facts.id}>
                {facts.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([quantity, text]) => (
            <tr key={quantity}>
              <th scope="row">
                <Fact
                  quiet
                  {...QUANTITIES[quantity]}
                  value={QUANTITIES[quantity].title}
                  inputs={all.map((one) => [one.facts.name, text(one)])}
                />
              </th>
              {all.map((one) => (
                <td key={one.facts.id}>{text(one)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
