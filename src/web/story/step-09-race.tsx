import { useState } from 'preact/hooks'
import { forwardWeightBytes } from '../../cost/bytes.ts'
import { forwardFlops, totalFlops } from '../../cost/flops.ts'
import { messageOf } from '../../errors.ts'
import { type ModelConfig, mixturesOf } from '../../model/config.ts'
import { si } from '../../text/units.ts'
import { useEngine } from '../app/engine.tsx'
import type { Race } from '../engine/protocol.ts'
import { Busy, Choice, TryIt } from '../parts/controls.tsx'
import { COUNTED, Fact, TIMED } from '../parts/fact.tsx'
import { Step } from './parts.tsx'
import { useStory } from './state.tsx'

const ROUNDS = 9
const LENGTHS = [1, 16, 128] as const

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

/** What the formulas and the machine's own speeds say about a race. */
export function boundsOf(config: ModelConfig, { tokens, gflops, gbPerS }: Race) {
  const flops = (dispatch: 'dense' | 'sparse') =>
    totalFlops(forwardFlops(config, { tokens, context: tokens, logitRows: 1, dispatch }))
  const experts = (touched: (router: { numExperts: number; topK: number }) => number) =>
    forwardWeightBytes(
      config,
      tokens,
      mixturesOf(config.layers).map(({ router }) => touched(router)),
    )
  const atLeast = (work: number, bytes: number) => Math.max(work / gflops / 1e6, bytes / gbPerS / 1e6)
  const [dense, sparse] = [flops('dense'), flops('sparse')]
  return {
    dense,
    sparse,
    ideal: dense / sparse,
    denseMs: atLeast(
      dense,
      experts(({ numExperts }) => numExperts),
    ),
    sparseMs: atLeast(
      sparse,
      experts(({ numExperts: E, topK: K }) => E * (1 - (1 - K / E) ** tokens)),
    ),
  }
}

/** Runs the race when asked to. */
function useRace(length: number) {
  const { run, facts } = useStory()
  const { client, models } = useEngine()
  const [share, setShare] = useState<number | null>(null)
  const [race, setRace] = useState<Race | null>(null)
  const [error, setError] = useState<string | null>(null)
  const start = async () => {
    setShare(0)
    setError(null)
    try {
      const tokens = Array.from({ length }, (_, t) => run.tokens[t % run.tokens.length])
      setRace(await client.ask('race', [facts.id, tokens, ROUNDS], setShare))
    } catch (failure) {
      setError(messageOf(failure))
    } finally {
      setShare(null)
    }
  }
  return { race, share, error, start, canStart: share === null && models.has(facts.id) }
}

export function RaceStep() {
  const { facts } = useStory()
  const [length, setLength] = useState<number>(LENGTHS[2])
  const { race, share, error, start, canStart } = useRace(length)
  return (
    <Step
      text={
        <>
          <p class="lead">
            Fewer FLOPs are a promise. Time is the test: run the same text through all experts (dense), then
            through the chosen ones (sparse).
          </p>
          {race ? (
            <Verdict race={race} config={facts.config} />
          ) : (
            <p>Nothing has been measured yet. It takes a few seconds, on your machine.</p>
          )}
          <TryIt what="Choose how many tokens go through at once, and start.">
            <Choice
              label="Tokens at once"
              options={LENGTHS.map((value) => ({ value, text: `${value} token${value === 1 ? '' : 's'}` }))}
              value={length}
              onChange={(value) => setLength(value)}
            />
            <button type="button" class="primary" onClick={start} disabled={!canStart}>
              {share === null ? 'Start the race' : 'Racing …'}
            </button>
            <Busy busy={share !== null} share={share} />
            {error && (
              <p class="failure" role="alert">
                {error}
              </p>
            )}
          </TryIt>
        </>
      }
      picture={<Lanes race={race} config={facts.config} />}
      caption="Medians of a whole forward, measured in turns. The line is the least time that this machine's own speed of arithmetic and memory allows."
    />
  )
}

function Verdict({ race, config }: { race: Race; config: ModelConfig }) {
  const bounds = boundsOf(config, race)
  const { ideal, denseMs, sparseMs } = bounds
  const [dense, sparse] = [median(race.dense), median(race.sparse)]
  return (
    <p aria-live="polite">
      On {race.tokens === 1 ? 'one token' : `${race.tokens} tokens`} running only the chosen experts was{' '}
      <Fact
        value={`${(dense / sparse).toFixed(2)} times as fast`}
        title="Speed-up on this machine"
        formula="median dense ms / median sparse ms"
        inputs={[
          ['every expert', `${dense.toFixed(2)} ms`],
          ['chosen experts', `${sparse.toFixed(2)} ms`],
          ['rounds', String(race.rounds)],
        ]}
        source={TIMED}
      />
      . The FLOPs would allow{' '}
      <Fact
        value={ideal.toFixed(2)}
        title="Ideal"
        formula="FLOPs with every expert / FLOPs with the chosen"
        inputs={[
          ['every expert', si(bounds.dense, 'FLOP')],
          ['chosen experts', si(bounds.sparse, 'FLOP')],
        ]}
        source={COUNTED}
      />
      , this machine{' '}
      <Fact
        value={(denseMs / sparseMs).toFixed(2)}
        title="What the machine allows"
        formula="max(FLOPs / speed, bytes / bandwidth), dense over sparse"
        inputs={[
          ['matrix product', `${race.gflops.toFixed(1)} GFLOP/s`],
          ['reading memory', `${race.gbPerS.toFixed(1)} GB/s`],
          ['least time, dense', `${denseMs.toFixed(3)} ms`],
          ['least time, sparse', `${sparseMs.toFixed(3)} ms`],
        ]}
        source={TIMED}
      />
      . What is missing goes to sorting tokens and to many small products: this model is tiny, and large ones
      come nearer.
    </p>
  )
}

function Lanes({ race, config }: { race: Race | null; config: ModelConfig }) {
  const bounds = race && boundsOf(config, race)
  const lanes = [
    { name: 'every expert', rounds: race?.dense, least: bounds?.denseMs },
    { name: 'chosen experts', rounds: race?.sparse, least: bounds?.sparseMs },
  ].map((lane) => ({ ...lane, ms: lane.rounds ? median(lane.rounds) : null }))
  const most = Math.max(...lanes.map(({ ms }) => ms ?? 0), 1e-9)
  return (
    <div class="lanes">
      {lanes.map(({ name, rounds, ms, least }) => (
        <div class="lane" key={name}>
          <p>
            <span>{name}</span>
            <span>
              {ms === null ? (
                '–'
              ) : (
                <Fact
                  quiet
                  value={`${ms.toFixed(2)} ms`}
                  title={`A forward through ${name}`}
                  formula="median of the rounds"
                  inputs={rounds!.map((each, i) => [`round ${i + 1}`, `${each.toFixed(2)} ms`])}
                  source={TIMED}
                />
              )}
            </span>
          </p>
          <div class="share-track">
            <span style={{ width: `${(100 * (ms ?? 0)) / most}%` }} />
            {least !== undefined && (
              <i style={{ left: `${(100 * least) / most}%` }} title={`least: ${least.toFixed(3)} ms`} />
            )}
          </div>
        </div>
      ))}
    </div>
  )
}
