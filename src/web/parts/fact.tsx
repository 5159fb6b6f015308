import { useId, useRef, useState } from 'preact/hooks'

export interface FactProps {
  /** As it stands in the text. */
  value: string
  /** What it is. */
  title: string
  formula: string
  /** What went in, by name. */
  inputs?: [name: string, value: string][]
  /** Where it comes from: the running engine, or who published it. */
  source: string
  /** A number beside the one that the sentence is about: opens alike, and stands back until it is looked for. */
  quiet?: boolean
}

/** A number that opens to its formula and inputs. */
export function Fact({ value, title, formula, inputs = [], source, quiet = false }: FactProps) {
  const id = useId()
  const button = useRef<HTMLButtonElement>(null)
  const note = useRef<HTMLSpanElement>(null)
  const [isOpen, setOpen] = useState(false)
  const place = () => {
    const [at, box] = [button.current!.getBoundingClientRect(), note.current!]
    const left = Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8))
    const below = at.bottom + 6 + box.offsetHeight < innerHeight
    box.style.left = `${left}px`
    box.style.top = `${Math.max(8, below ? at.bottom + 6 : at.top - box.offsetHeight - 6)}px`
  }
  return (
    <>
      <button
        ref={button}
        type="button"
        class={quiet ? 'fact quiet-fact' : 'fact'}
        popovertarget={id}
        aria-label={`${value}: ${title}, how it is computed`}
      >
        {value}
      </button>
      <span
        ref={note}
        id={id}
        popover="auto"
        class="note"
        onBeforeToggle={({ newState }) => setOpen(newState === 'open')}
        onToggle={place}
      >
        {isOpen && (
          <>
            <strong>{title}</strong>
            <code>{formula}</code>
            {inputs.map(([name, input]) => (
              <span class="input" key={name}>
                <span>{name}</span>
                <span>{input}</span>
              </span>
            ))}
            <small>{source}</small>
          </>
        )}
      </span>
    </>
  )
}

/** Where most numbers come from. */
export const ENGINE = 'Computed by the engine on this page.'
export const COUNTED = "Counted from the model's shapes, as `tinymoe inspect` does."
export const TIMED = 'Timed in this browser.'
