import { parametersText, si } from '../../text/units.ts'
import { costOfRun, lossOf, type RunCost } from '../cost/of-run.ts'
import type { Run } from '../engine/protocol.ts'
import { shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { tokenText } from '../parts/tokens.tsx'
import { QUANTITIES } from './quantities.ts'
import { type PlayValue, usePlay } from './state.tsx'

interface Line {
  quantity: (typeof QUANTITIES)[keyof typeof QUANTITIES]
  before: number | null
  after: number | null
  text(value: number): string
  /** What went into a run's number. */
  inputs(of: { run: Run; cost: RunCost }): [string, string][]
}

function linesOf({ before, after, facts }: PlayValue) {
  const runs = [before, after].map((run) => ({ run, cost: costOfRun(facts.config, run) }))
  const line = (
    quantity: Line['quantity'],
    value: (of: (typeof runs)[number]) => number | null,
    text: Line['text'],
    inputs: Line['inputs'],
  ) => ({ quantity, before: value(runs[0]), after: value(runs[1]), text, inputs: runs.map(inputs) })
  const experts = ({ cost }: { cost: RunCost }): [string, string][] =>
    cost.expertsRun.map((ran, l) => [`experts of mixture layer ${l}`, `${Number(ran.toFixed(2))} a token`])
  const flop = (value: number) => si(value, 'FLOP')
  const bytes = (value: number) => si(value, 'B')
  return [
    line(
      QUANTITIES.loss,
      ({ run }) => lossOf(run),
      (value) => value.toFixed(4),
      ({ run }) =>
        run.losses.map((nats, t) => [`${t + 1} “${tokenText(run.texts[t + 1])}”`, nats.toFixed(3)]),
    ),
    line(
      QUANTITIES.active,
      ({ cost }) => cost.parameters.active,
      parametersText,
      (of) => [...experts(of), ['all parameters', parametersText(of.cost.parameters.total)]],
    ),
    line(
      QUANTITIES.flops,
      ({ cost }) => cost.flops.active,
      flop,
      (of) => [...experts(of), ['if every expert ran', flop(of.cost.flops.everyExpert)]],
    ),
    line(
      QUANTITIES.bytes,
      ({ cost }) => cost.bytes.active,
      bytes,
      (of) => [...experts(of), ['if every expert ran', bytes(of.cost.bytes.everyExpert)]],
    ),
    line(
      QUANTITIES.ms,
      ({ run }) => run.ms,
      (value) => `${value.toFixed(1)} ms`,
      ({ run }) => [['tokens', String(run.tokens.length)]],
    ),
  ]
}

/** The model as it is and as it was changed: next token, loss, cost. */
export function Compare() {
  const play = usePlay()
  const { before, after, isChanged } = play
  return (
    <section class="card compare" aria-labelledby="compare-heading">
      <h2 id="compare-heading">{isChanged ? 'Before and after' : 'As it is'}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">
              <span class="unseen">quantity</span>
            </th>
            <th scope="col">unchanged</th>
            <th scope="col">changed</th>
            <th scope="col">difference</th>
          </tr>
        </thead>
        <tbody>
          {linesOf(play).map((line) => (
            <CompareRow key={line.quantity.title} {...line} isChanged={isChanged} />
          ))}
        </tbody>
      </table>
      <NextTokens before={before} after={isChanged ? after : null} />
    </section>
  )
}

function CompareRow({
  quantity,
  before,
  after,
  text,
  inputs,
  isChanged,
}: ReturnType<typeof linesOf>[number] & { isChanged: boolean }) {
  const { title } = quantity
  const fact = (value: number | null, went: [string, string][]) =>
    value === null ? '–' : <Fact quiet {...quantity} value={text(value)} inputs={went} />
  return (
    <tr>
      <th scope="row">{title}</th>
      <td data-quantity={title} data-value={before ?? ''}>
        {fact(before, inputs[0])}
      </td>
      <td data-value={isChanged ? (after ?? '') : ''}>{isChanged ? fact(after, inputs[1]) : '–'}</td>
      <td>
        {isChanged && before && after !== null ? (
          <Fact
            quiet
            value={`${after >= before ? '+' : ''}${(100 * (after / before - 1)).toFixed(1)} %`}
            title={`Difference: ${title}`}
            formula="changed / unchanged - 1"
            inputs={[
              ['unchanged', text(before)],
              ['changed', text(after)],
            ]}
            source={quantity.source}
          />
        ) : (
          '–'
        )}
      </td>
    </tr>
  )
}

/** Next tokens that are shown. */
const SHOWN = 8

/** The likeliest next tokens of both, side by side. */
function NextTokens({ before, after }: { before: Run; after: Run | null }) {
  const listed = [...before.next, ...(after?.next ?? [])]
  const probability = (run: Run, token: number) => run.probabilities[token] ?? 0
  const best = (token: number) => Math.max(probability(before, token), after ? probability(after, token) : 0)
  const tokens = [...new Map(listed.map((candidate) => [candidate.token, candidate.text]))]
    .sort(([a], [b]) => best(b) - best(a))
    .slice(0, SHOWN)
  return (
    <div>
      <h3>
        What may come next, by{' '}
        <Fact
          quiet
          value="probability"
          title="Probability of the next token"
          formula="softmax of the logits behind the last token"
          inputs={[['tokens of the vocabulary', String(before.probabilities.length)]]}
          source={ENGINE}
        />
      </h3>
      <table class="next-tokens">
        <thead>
          <tr>
            <th scope="col">token</th>
            <th scope="col">unchanged</th>
            <th scope="col">changed</th>
          </tr>
        </thead>
        <tbody>
          {tokens.map(([token, text]) => (
            <tr key={token}>
              <th scope="row">
                <span class="quoted">{tokenText(text)}</span>
              </th>
              <Probability value={probability(before, token)} />
              {after ? <Probability value={probability(after, token)} isAfter /> : <td>–</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function Probability({ value, isAfter = false }: { value: number; isAfter?: boolean }) {
  return (
    <td>
      <span class="share-track">
        <span class={isAfter ? 'after' : ''} style={{ width: `${100 * value}%` }} />
      </span>
      <span class="number">{shareText(value)}</span>
    </td>
  )
}
