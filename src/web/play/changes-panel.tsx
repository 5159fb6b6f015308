import { mixturesOf, type RouterConfig } from '../../model/config.ts'
import { CAPACITY_POLICIES } from '../../model/router/types.ts'
import { Choice, Slider } from '../parts/controls.tsx'
import { type Changes, flagsOf, UNCHANGED } from './changes.ts'
import { usePlay } from './state.tsx'

/** Capacity factors of the slider; the last one is no limit. */
const FACTORS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, null] as const
/** Of the slider of temperatures, in powers of two. */
const OCTAVES = { min: -3, max: 3, step: 0.5 }

const ROUTES: { value: Changes['route']; text: string }[] = [
  { value: 'router', text: 'the router' },
  { value: 'random', text: 'chance' },
  { value: 'round-robin', text: 'turn' },
  { value: 'replay', text: 'another text' },
]

/** What if? Every change of the routing that the engine knows. */
export function ChangesPanel() {
  const { facts, changes, setChanges } = usePlay()
  const routers = mixturesOf(facts.config.layers).map(({ router }) => router)
  if (routers.length === 0) return <p>Every layer of {facts.name} is dense: there is no router to change.</p>
  const { off } = changes
  const flags = flagsOf(changes)
  return (
    <section class="card changes" aria-labelledby="changes-heading">
      <h2 id="changes-heading">What if?</h2>
      <Sliders routers={routers} />
      <p>Who chooses the experts?</p>
      <Choice
        label="Who chooses the experts"
        options={ROUTES}
        value={changes.route}
        onChange={(route) => setChanges({ route })}
      />
      <RouteDetail />
      <p>
        {off.length === 0
          ? 'Press an expert\u2019s number above the heat map to see its card and switch it off.'
          : `Off: ${off.map(({ layer, expert }) => `expert ${expert} of layer ${layer}`).join(', ')}`}
      </p>
      <button type="button" disabled={flags === null} onClick={() => setChanges(UNCHANGED)}>
        Undo all changes
      </button>
    </section>
  )
}

/** What is a number: k, temperature, capacity. */
function Sliders({ routers }: { routers: RouterConfig[] }) {
  const { changes, setChanges } = usePlay()
  const { topK, temperature, capacity, policy } = changes
  const E = Math.min(...routers.map(({ numExperts }) => numExperts))
  const k = topK ?? routers[0].topK
  const octave = Math.log2(temperature)
  const factor = FACTORS.indexOf(capacity as (typeof FACTORS)[number])
  return (
    <>
      <Slider
        label="Experts a token (k)"
        value={k}
        min={1}
        max={E}
        text={`${k}${topK === null ? ', as trained' : ''}`}
        onChange={(value) => setChanges({ topK: value === routers[0].topK ? null : value })}
      />
      <Slider
        label="Router temperature"
        value={octave}
        {...OCTAVES}
        text={temperature === 1 ? '1, as trained' : String(Number(temperature.toPrecision(3)))}
        onChange={(value) => setChanges({ temperature: Number((2 ** value).toPrecision(6)) })}
      />
      <Slider
        label="Capacity factor"
        value={factor < 0 ? FACTORS.length - 1 : factor}
        min={0}
        max={FACTORS.length - 1}
        text={capacity === null ? 'no limit' : String(capacity)}
        onChange={(value) => setChanges({ capacity: FACTORS[value] })}
      />
      {capacity !== null && (
        <Choice
          label="What is over capacity"
          options={CAPACITY_POLICIES.map((value) => ({ value, text: value }))}
          value={policy}
          onChange={(value) => setChanges({ policy: value })}
        />
      )}
    </>
  )
}

function RouteDetail() {
  const { changes, setChanges } = usePlay()
  if (changes.route === 'random') {
    return (
      <label class="field">
        <span>Seed</span>
        <input
          type="number"
          min="0"
          step="1"
          value={changes.seed}
          onInput={({ currentTarget: { valueAsNumber: seed } }) =>
            Number.isSafeInteger(seed) && seed >= 0 && setChanges({ seed })
          }
        />
      </label>
    )
  }
  if (changes.route !== 'replay') return null
  return (
    <label class="field">
      <span>Route as this text was routed</span>
      <input
        value={changes.replay}
        placeholder="Write another text"
        maxLength={200}
        onInput={({ currentTarget }) => setChanges({ replay: currentTarget.value })}
      />
    </label>
  )
}
