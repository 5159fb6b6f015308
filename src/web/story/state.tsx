import { type ComponentChildren, createContext } from 'preact'
import { useContext, useEffect, useMemo, useState } from 'preact/hooks'
import { mixtureAt, mixturesOf, type RouterConfig } from '../../model/config.ts'
import type { LayerTrace } from '../../model/trace.ts'
import { chosenExperts } from '../../trace/statistics.ts'
import { useAnswer } from '../app/answer.ts'
import { useEngine } from '../app/engine.tsx'
import type { ModelFacts, Run, Vectors } from '../engine/protocol.ts'

/** The text that the story follows, one token of it, and one layer. */
export interface StoryValue {
  text: string
  setText(text: string): void
  facts: ModelFacts
  run: Run
  vectors: Vectors
  busy: boolean
  error: string | null
  row: number
  setRow(row: number): void
  /** Among the mixture layers, counted from 0. */
  layerIndex: number
  setLayerIndex(layer: number): void
  layer: LayerTrace
  router: RouterConfig
  /** Of the token in the layer, the most preferred first. */
  chosen: number[]
}

const Context = createContext<StoryValue | null>(null)

export function useStory(): StoryValue {
  return useContext(Context)!
}

/** The token that the story begins with: the last digit of the opening text, else its last token. */
function firstRow(texts: readonly string[]): number {
  const digit = texts.findLastIndex((text) => /\d/.test(text))
  return digit < 0 ? texts.length - 1 : digit
}

export function StoryState({ children }: { children: ComponentChildren }) {
  const { opening, models, need } = useEngine()
  const facts = useMemo(
    () => [...models.values()].find(({ config }) => mixturesOf(config.layers).length > 0) ?? opening.facts,
    [models],
  )
  const ready = models.has(facts.id)
  useEffect(() => {
    if (models.size > 0 && !ready) need(opening.facts.id).catch(() => {}) // the header says why
  }, [models.size, ready])
  const [text, setText] = useState(opening.prompt)
  const [picked, setPicked] = useState<number | null>(null)
  const [layerIndex, setLayerIndex] = useState(0)

  const encoded = useAnswer('encode', ready && text !== '' ? [facts.id, text] : null, `${facts.id} ${text}`)
  const tokens = encoded.value?.tokens
  const key = `${facts.id} ${tokens}`
  const ran = useAnswer('run', ready && tokens ? [facts.id, tokens, {}] : null, key, opening.run)
  const run = ran.value!
  const trace = run.trace!
  const index = Math.min(layerIndex, trace.layers.length - 1)
  const row = Math.min(picked ?? firstRow(run.texts), run.tokens.length - 1)
  const layer = trace.layers[index]
  const vectors = useAnswer(
    'vectors',
    ready && run.model === facts.id ? [facts.id, run.tokens, layer.layer, row] : null,
    `${run.model} ${run.tokens} ${layer.layer} ${row}`,
    opening.vectors,
  )
  const shown = run.model === facts.id ? facts : opening.facts
  const value: StoryValue = {
    text,
    setText: (next) => {
      setText(next)
      setPicked(null)
    },
    facts: shown,
    run,
    vectors: vectors.value!,
    busy: encoded.busy || ran.busy || vectors.busy,
    error: encoded.error ?? ran.error,
    row,
    setRow: setPicked,
    layerIndex: index,
    setLayerIndex,
    layer,
    router: mixtureAt(shown.config, layer.layer).router,
    chosen: chosenExperts(layer, row),
  }
  return <Context.Provider value={value}>{children}</Context.Provider>
}
