import type { ComponentChildren } from 'preact'
import { Busy, Choice } from '../parts/controls.tsx'
import { Fact } from '../parts/fact.tsx'
import { Tokens, wordText } from '../parts/tokens.tsx'
import { useStory } from './state.tsx'

/** Text beside a picture. */
export function Step({
  text,
  picture,
  caption,
  busy: asking = false,
}: {
  text: ComponentChildren
  picture: ComponentChildren
  caption: ComponentChildren
  /** What the step itself asks is not answered yet. */
  busy?: boolean
}) {
  const { error, ...story } = useStory()
  const busy = story.busy || asking
  return (
    <article class="step">
      <div class="text">
        {text}
        {error && (
          <p class="failure" role="alert">
            {error}
          </p>
        )}
      </div>
      <figure class="picture" aria-busy={busy}>
        <Busy busy={busy} />
        {picture}
        <figcaption>{caption}</figcaption>
      </figure>
    </article>
  )
}

/** The token that the story follows, as a word in a sentence. */
export function TheToken() {
  const { run, row } = useStory()
  return <span class="quoted">{wordText(run.texts[row])}</span>
}

/** A size of the model that its config.json says. */
export function Size({ value, title }: { value: number; title: string }) {
  const { name } = useStory().facts
  return (
    <Fact
      quiet
      value={String(value)}
      title={title}
      formula="a size of config.json"
      source={`The model ${name}.`}
    />
  )
}

export function TokenPicker({
  label = 'Tokens of the text; the pressed one is followed',
}: {
  label?: string
}) {
  const { run, row, setRow } = useStory()
  return <Tokens label={label} texts={run.texts} selected={row} onSelect={setRow} />
}

export function LayerPicker() {
  const { run, layerIndex, setLayerIndex } = useStory()
  const options = run.trace!.layers.map(({ layer }, value) => ({ value, text: String(layer) }))
  return (
    <div class="labelled">
      <span aria-hidden="true">Layer</span>
      <Choice label="Layer, counted from 0" options={options} value={layerIndex} onChange={setLayerIndex} />
    </div>
  )
}

/** `a`, `a and b`, `a, b and c`. */
export function listText(items: readonly (string | number)[]): string {
  if (items.length < 2) return items.join('')
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}
