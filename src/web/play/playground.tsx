import { useEngine } from '../app/engine.tsx'
import { Busy, Select } from '../parts/controls.tsx'
import { HeatMap, type HeatPlace } from '../parts/heat-map.tsx'
import { useTyped } from '../parts/typed.ts'
import { ChangesPanel } from './changes-panel.tsx'
import { Compare } from './compare.tsx'
import { ExpertCard } from './expert-card.tsx'
import { Forget } from './forget.tsx'
import { Models } from './models.tsx'
import { OwnFiles } from './own-files.tsx'
import { SaveButtons } from './save.tsx'
import { SavedTraceView } from './saved-trace.tsx'
import { PlayState, usePlay } from './state.tsx'
import { TokenPanel } from './token-panel.tsx'
import { Transport } from './transport.tsx'

export function Playground({ query }: { query: URLSearchParams }) {
  return (
    <PlayState query={query}>
      <main class="play">
        <h1>Playground</h1>
        <p class="lead">
          Press Play and the model writes. Change how it routes, and see at once what would have been
          otherwise.
        </p>
        <Content />
      </main>
    </PlayState>
  )
}

function Content() {
  const { saved } = usePlay()
  return (
    <>
      {saved ? <SavedTraceView saved={saved} /> : <Live />}
      <div class="play-foot">
        {!saved && <Models />}
        <OwnFiles />
        {!saved && <SaveButtons />}
      </div>
    </>
  )
}

function Live() {
  const { error, busy, after, facts } = usePlay()
  return (
    <>
      <PromptBar />
      <Forget />
      <Transport />
      <Busy busy={busy} />
      {error && (
        <p class="failure" role="alert">
          {error}
        </p>
      )}
      <div class="play-grid" aria-busy={busy}>
        <div class="column">
          <ChangesPanel />
          <ExpertCard />
        </div>
        <div class="column wide">
          <Routing />
          <Compare />
        </div>
        <div class="column">
          {after.trace && <PlacePanel />}
          {facts.remarks.map((remark) => (
            <p class="quiet" key={remark}>
              {remark}
            </p>
          ))}
        </div>
      </div>
    </>
  )
}

function PlacePanel() {
  const { facts, after, place, ready } = usePlay()
  return ready && after.trace ? (
    <TokenPanel model={facts.id} trace={after.trace} texts={after.texts} place={place} />
  ) : null
}

/** The written text, and who chose which expert. */
function Routing() {
  const { after, before, place, setPlace, setExpert, changes, promptTokens, isChanged } = usePlay()
  const { trace } = after
  const differs = ({ row, layerIndex }: HeatPlace) => {
    const [a, b] = [before.trace!.layers[layerIndex], after.trace!.layers[layerIndex]]
    const experts = ({ expertIndices, topK: K }: typeof a) =>
      expertIndices
        .slice(row * K, (row + 1) * K)
        .sort()
        .join()
    return experts(a) !== experts(b)
  }
  return (
    <section class="card" aria-labelledby="routing-heading">
      <h2 id="routing-heading">Who went where</h2>
      <p class="written" aria-live="off">
        {after.texts.map((text, t) => (
          <span key={t} class={t < promptTokens ? '' : 'new'}>
            {t === 0 && text.startsWith('<') ? '' : text}
          </span>
        ))}
      </p>
      {trace ? (
        <HeatMap
          trace={trace}
          texts={after.texts}
          selected={place}
          onSelect={setPlace}
          isChanged={isChanged && before.trace ? differs : undefined}
          onExpert={(layerIndex, expert) => setExpert({ layerIndex, expert })}
          isOff={(layerIndex, expert) =>
            changes.off.some((off) => off.layer === trace.layers[layerIndex].layer && off.expert === expert)
          }
        />
      ) : (
        <p>Every layer is dense: each token passes through all of it, and there is nothing to choose.</p>
      )}
      {isChanged && <p class="quiet">A framed decision is another one than the unchanged model's.</p>}
    </section>
  )
}

function PromptBar() {
  const { prompt, setPrompt, facts, setModel, setChanges } = usePlay()
  const { offered, opening, models } = useEngine()
  const { own, setOwn, waiting } = useTyped(prompt, setPrompt)
  const known = [
    { name: 'the beginning', text: opening.prompt },
    ...(opening.fact ? [{ name: 'a fact', text: opening.fact.prompt }] : []),
    ...opening.samples,
  ]
  const examples = [
    { value: '', text: 'choose …' },
    ...known.map(({ name, text }) => ({ value: text, text: `${name}: ${text.slice(0, 24)}` })),
  ]
  const choose = (text: string) => {
    if (text === '') return
    setPrompt(text)
    if (text === opening.fact?.prompt) setModel(opening.fact.model)
    else if (facts.id === opening.fact?.model) {
      setModel(opening.facts.id) // of other texts this one knows little
      setChanges({ off: [] })
    }
  }
  const dropped = [...models.values()].filter(({ id }) => !offered.some((one) => one.id === id))
  return (
    <div class="prompt-bar">
      <label class="field grow" aria-busy={waiting}>
        <span>Prompt</span>
        <textarea
          rows={2}
          value={own}
          maxLength={400}
          spellcheck={false}
          onInput={({ currentTarget }) => setOwn(currentTarget.value)}
        />
      </label>
      <Select label="Example" options={examples} value="" onChange={choose} />
      <Select
        label="Model"
        options={[...offered, ...dropped].map(({ id, name }) => ({ value: id, text: name }))}
        value={facts.id}
        onChange={setModel}
      />
    </div>
  )
}
