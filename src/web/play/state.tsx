import { type ComponentChildren, createContext } from 'preact'
import { useContext, useEffect, useMemo, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import { useAnswer } from '../app/answer.ts'
import { useEngine } from '../app/engine.tsx'
import { replaceHash } from '../app/route.ts'
import type { ModelFacts } from '../engine/protocol.ts'
import type { HeatPlace } from '../parts/heat-map.tsx'
import { type Changes, changesFromQuery, changesToQuery } from './changes.ts'
import { type Runs, useRuns } from './runs.ts'

/** Tokens of a text at most: each new one runs the whole text again, twice where something is changed. */
export const MAX_TOKENS = 200

export interface SavedTrace {
  name: string
  trace: RoutingTrace
  texts: string[]
}

export interface PlayValue extends Runs {
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

/** The model of this id, loaded if it is offered; until then one that is there. */
function useModel(wanted: string) {
  const { opening, models, offered, need } = useEngine()
  const [failed, setFailed] = useState<{ id: string; error: string } | null>(null)
  const missing = !models.has(wanted) && offered.some(({ id }) => id === wanted)
  useEffect(() => {
    setFailed(null)
    if (missing) need(wanted).catch((error) => setFailed({ id: wanted, error: messageOf(error) }))
  }, [wanted])
  const facts = models.get(wanted) ?? [...models.values()][0] ?? opening.facts
  const loadError = failed?.id === wanted ? failed.error : null
  const coming = missing && loadError === null
  return { facts, ready: models.has(facts.id), coming, loadError }
}

type Addressed = Pick<PlayValue, 'prompt' | 'written' | 'changes' | 'facts'>

/** Writes what the reader sees into the address, once there is something to share. */
function useAddress({ prompt, written, changes, facts }: Addressed, isShared: boolean): void {
  const { offered } = useEngine()
  useEffect(() => {
    const query = new URLSearchParams({ prompt })
    if (written.length > 0) query.set('written', written.join('.'))
    if (facts.id !== offered[0].id && offered.some(({ id }) => id === facts.id)) query.set('model', facts.id)
    changesToQuery(changes, query)
    if (isShared) replaceHash(`#play?${query}`)
  }, [prompt, written, changes, facts.id])
}

export function PlayState({ query, children }: { query: URLSearchParams; children: ComponentChildren }) {
  const { opening, models } = useEngine()
  const [wanted, setModel] = useState(query.get('model') ?? '')
  const [prompt, setPrompt] = useState(query.get('prompt') ?? opening.prompt)
  const [written, setWritten] = useState(() => numbersOf(query.get('written')))
  const [changes, setChanges] = useState(() => changesFromQuery(query))
  const [place, setPlace] = useState<HeatPlace | null>(null)
  const [expert, setExpert] = useState<PlayValue['expert']>(null)
  const [saved, setSaved] = useState<SavedTrace | null>(null)
  const { facts, ready, coming, loadError } = useModel(wanted)
  const { id } = facts
  const encoded = useAnswer('encode', ready && prompt !== '' ? [id, prompt] : null, `${id} ${prompt}`)
  const start = encoded.value?.tokens ?? opening.run.tokens
  const tokens = useMemo(() => [...start, ...written], [start, written])
  const runs = useRuns(facts, ready && encoded.value ? tokens : null, changes, opening.run)
  const { before, after } = runs
  useAddress({ prompt, written, changes, facts }, ready || prompt !== opening.prompt || written.length > 0)

  const value: PlayValue = {
    ...runs,
    busy: runs.busy || encoded.busy || coming,
    error: loadError ?? encoded.error ?? runs.error,
    facts: before.model === id ? facts : (models.get(before.model) ?? opening.facts),
    ready,
    setModel,
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
