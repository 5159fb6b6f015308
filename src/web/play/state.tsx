import { type ComponentChildren, createContext } from 'preact'
import { useContext, useEffect, useMemo, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import { mixturesOf } from '../../model/config.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import { useAnswer } from '../app/answer.ts'
import { useEngine } from '../app/engine.tsx'
import { replaceHash } from '../app/route.ts'
import type { ModelFacts, Run } from '../engine/protocol.ts'
import type { HeatPlace } from '../parts/heat-map.tsx'
import { type Changes, changesFromQuery, changesToQuery, interventionsOf } from './changes.ts'

/** Tokens of a text at most: each new one runs the whole text again, twice where something is changed. */
export const MAX_TOKENS = 200

export interface SavedTrace {
  name: string
  trace: RoutingTrace
  texts: string[]
}

export interface PlayValue {
  facts: ModelFacts
  ready: boolean
  setModel(id: string): void
  prompt: string
  setPrompt(prompt: string): void
  promptTokens: number
  /** The text's tokens so far; their runs may be one behind. */
  tokens: number[]
  /** New tokens behind the prompt. */
  written: number[]
  setWritten(written: number[]): void
  changes: Changes
  setChanges(changes: Partial<Changes>): void
  /** The model as it is. */
  before: Run
  /** With the changes; the same as `before` without. */
  after: Run
  isChanged: boolean
  busy: boolean
  error: string | null
  place: HeatPlace
  /** Null: the newest token. */
  setPlace(place: HeatPlace | null): void
  expert: { layerIndex: number; expert: number } | null
  setExpert(expert: PlayValue['expert']): void
  saved: SavedTrace | null
  setSaved(saved: SavedTrace | null): void
}

const Context = createContext<PlayValue | null>(null)

export function usePlay(): PlayValue {
  return useContext(Context)!
}

function numbersOf(text: string | null): number[] {
  return (text ?? '')
    .split('.')
    .filter((part) => /^\d+$/.test(part))
    .map(Number)
    .slice(0, MAX_TOKENS)
}

export function PlayState({ query, children }: { query: URLSearchParams; children: ComponentChildren }) {
  const engine = useEngine()
  const { opening, models, offered, need } = engine
  const [wanted, setWanted] = useState(query.get('model') ?? '')
  const [prompt, setPrompt] = useState(query.get('prompt') ?? opening.prompt)
  const [written, setWritten] = useState(() => numbersOf(query.get('written')))
  const [changes, setChanges] = useState(() => changesFromQuery(query))
  const [place, setPlace] = useState<HeatPlace | null>(null)
  const [expert, setExpert] = useState<PlayValue['expert']>(null)
  const [saved, setSaved] = useState<SavedTrace | null>(null)
  const [loadError, setLoadError] = useState<string | null>(null)

  useEffect(() => {
    setLoadError(null)
    if (!models.has(wanted) && offered.some(({ id }) => id === wanted)) {
      need(wanted).catch((error) => setLoadError(messageOf(error)))
    }
  }, [wanted])
  const facts = models.get(wanted) ?? [...models.values()][0] ?? opening.facts
  const ready = models.has(facts.id)
  const hasRouter = mixturesOf(facts.config.layers).length > 0

  const encoded = useAnswer(
    'encode',
    ready && prompt !== '' ? [facts.id, prompt] : null,
    `${facts.id} ${prompt}`,
  )
  const isOpening = !ready && prompt === opening.prompt && written.length === 0
  const start = encoded.value?.tokens ?? opening.run.tokens
  const tokens = useMemo(() => [...start, ...written], [start, written])
  const asked = ready && encoded.value ? tokens : null
  const text = `${facts.id} ${asked}`
  const base = useAnswer('run', asked && [facts.id, asked, { timed: true }], text, opening.run)
  const replays = changes.route === 'replay' && changes.replay !== '' && hasRouter
  const recorded = useAnswer(
    'recorded',
    asked && replays ? [facts.id, changes.replay, asked.length] : null,
    `${facts.id} ${changes.replay} ${asked?.length}`,
  )
  const interventions = hasRouter ? interventionsOf(changes, replays ? recorded.value : null) : undefined
  const key = `${text} ${JSON.stringify({ ...changes })} ${replays ? recorded.value?.rows.length : ''}`
  const altered = useAnswer(
    'run',
    asked && interventions ? [facts.id, asked, { timed: true, interventions }] : null,
    key,
  )

  const before = base.value!
  const isSame = (run: Run | null) =>
    run?.model === before.model && run.tokens.join() === before.tokens.join()
  const isChanged = interventions !== undefined && !altered.error && isSame(altered.value)
  const after = isChanged ? altered.value! : before
  useEffect(() => {
    const state = new URLSearchParams({ prompt })
    if (written.length > 0) state.set('written', written.join('.'))
    if (facts.id !== offered[0].id && offered.some(({ id }) => id === facts.id)) state.set('model', facts.id)
    changesToQuery(changes, state)
    if (!isOpening) replaceHash(`#play?${state}`)
  }, [prompt, written, changes, facts.id])

  const value: PlayValue = {
    facts: before.model === facts.id ? facts : (models.get(before.model) ?? opening.facts),
    ready,
    setModel: setWanted,
    prompt,
    setPrompt: (next) => {
      setPrompt(next)
      setWritten([])
      setPlace(null)
    },
    promptTokens: start.length,
    tokens,
    written,
    setWritten,
    changes,
    setChanges: (next) => setChanges((old) => ({ ...old, ...next })),
    before,
    after,
    isChanged,
    busy: base.busy || altered.busy || encoded.busy,
    error:
      loadError ??
      encoded.error ??
      base.error ??
      (interventions ? altered.error : null) ??
      (replays ? recorded.error : null),
    place: placeIn(place, after.trace),
    setPlace,
    expert,
    setExpert,
    saved,
    setSaved,
  }
  return <Context.Provider value={value}>{children}</Context.Provider>
}

/** Where the reader looks: what was picked if it is there, else the newest token. */
export function placeIn(place: HeatPlace | null, trace: RoutingTrace | null): HeatPlace {
  const rows = trace?.rows.length ?? 1
  const layers = trace?.layers.length ?? 1
  return {
    row: Math.min(place?.row ?? rows - 1, rows - 1),
    layerIndex: Math.min(place?.layerIndex ?? 0, layers - 1),
  }
}
