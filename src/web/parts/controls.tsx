import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'

export interface SliderProps {
  label: string
  value: number
  min: number
  max: number
  step?: number
  text?: string
  onChange(value: number): void
}

export function Slider({ label, value, min, max, step = 1, text, onChange }: SliderProps) {
  const id = useId()
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="range"
        value={value}
        min={min}
        max={max}
        step={step}
        aria-valuetext={text}
        onInput={({ currentTarget }) => onChange(Number(currentTarget.value))}
      />
      <output for={id}>{text ?? value}</output>
    </div>
  )
}

export interface ChoiceProps<T extends string | number> {
  label: string
  options: readonly { value: T; text: string }[]
  value: T
  onChange(value: T): void
}

/** A few alternatives in a row. */
export function Choice<T extends string | number>({ label, options, value, onChange }: ChoiceProps<T>) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be a flex box everywhere
    <div class="choice" role="group" aria-label={label}>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.text}
        </button>
      ))}
    </div>
  )
}

export interface SelectProps<T extends string | number> extends ChoiceProps<T> {
  /** Within a sentence: the label is said, not shown. */
  inline?: boolean
}

/** One of many alternatives. */
export function Select<T extends string | number>({
  label,
  options,
  value,
  onChange,
  inline,
}: SelectProps<T>) {
  const id = useId()
  return (
    <div class="field">
      <label for={id} class={inline ? 'unseen' : undefined}>
        {label}
      </label>
      <select
        id={id}
        value={value}
        onChange={({ currentTarget }) => onChange(options[currentTarget.selectedIndex].value)}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.text}
          </option>
        ))}
      </select>
    </div>
  )
}

/** What one reader may do here. */
export function TryIt({ children, what }: { children: ComponentChildren; what: string }) {
  return (
    <section class="try" aria-label="Try it">
      <p>
        <strong>Try it.</strong> {what}
      </p>
      {children}
    </section>
  )
}

/** Work that is not done yet; takes its place from the start, so that nothing jumps. */
export function Busy({ busy, share }: { busy: boolean; share?: number | null }) {
  const known = typeof share === 'number'
  return (
    <div class={`busy${busy ? ' on' : ''}${known ? ' known' : ''}`}>
      {busy && (
        <span
          role="progressbar"
          aria-label="Computing"
          aria-valuenow={known ? Math.round(100 * share) : undefined}
          style={known ? { width: `${100 * share}%` } : undefined}
        />
      )}
    </div>
  )
}
