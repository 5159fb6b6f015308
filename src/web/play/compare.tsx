import { parametersText, si } from '../../text/units.ts'
import { costOfRun, lossOf } from '../cost/of-run.ts'
import type { Run } from '../engine/protocol.ts'
import { shareText } from '../parts/expert.tsx'
import { COUNTED, ENGINE, Fact } from '../parts/fact.tsx'
import { tokenText } from '../parts/tokens.tsx'
import { type PlayValue, usePlay } from './state.tsx'

interface Line {
  name: string
  before: number | null
  after: number | null
  text(value: number): string
  formula: string
  source: string
}

function linesOf({ before, after, facts }: PlayValue): Line[] {
  const [a, b] = [costOfRun(facts.config, before), costOfRun(facts.config, after)]
  return [
    {
      name: 'Loss of the text, nats a token',
      before: lossOf(before),
      after: lossOf(after),
      text: (value) => value.toFixed(4),
      formula: 'mean of -ln p(token | the tokens before)',
      source: ENGINE,
    },
    {
      name: 'Parameters that ran',
      before: a.parameters.active,
      after: b.parameters.active,
      text: parametersText,
      formula: 'mean over tokens: always used + experts that ran',
      source: COUNTED,
    },
    {
      name: 'Arithmetic a token',
      before: a.flops.active,
      after: b.flops.active,
      text: (value) => si(value, 'FLOP'),
      formula: '2 FLOP a weight of each product, experts that ran',
      source: COUNTED,
    },
    {
      name: 'Weights read a token',
      before: a.bytes.active,
      after: b.bytes.active,
      text: (value) => si(value, 'B'),
      formula: '4 bytes a weight of what ran',
      source: COUNTED,
    },
    {
      name: 'Time of a forward',
      before: before.ms,
      after: after.ms,
      text: (value) => `${value.toFixed(1)} ms`,
      formula: 'median of forwards over the whole text',
      source: 'Timed in this browser.',
    },
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
            <CompareRow key={line.name} {...line} isChanged={isChanged} />
          ))}
        </tbody>
      </table>
      <NextTokens before={before} after={isChanged ? after : null} />
    </section>
  )
}

function CompareRow({
  name,
  before,
  after,
  text,
  formula,
  source,
  isChanged,
}: Line & { isChanged: boolean }) {
  const fact = (value: number | null) =>
    value === null ? (
      '–'
    ) : (
      <Fact value={text(value)} title={name} formula={formula} inputs={[]} source={source} />
    )
  const difference = before === null || after === null || before === 0 ? null : after / before - 1
  return (
    <tr>
      <th scope="row">{name}</th>
      <td data-quantity={name} data-value={before ?? ''}>
        {fact(before)}
      </td>
      <td data-value={isChanged ? (after ?? '') : ''}>{isChanged ? fact(after) : '–'}</td>
      <td>
        {isChanged && difference !== null
          ? `${difference >= 0 ? '+' : ''}${(100 * difference).toFixed(1)} %`
          : '–'}
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
      <h3>What may come next</h3>
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
