/** A token's text with what cannot be seen made visible. */
export function tokenText(text: string): string {
  if (text === '') return '∅'
  return text.replaceAll('\n', '⏎').replaceAll(' ', '␣')
}

/** A token's text inside a sentence, where the space that most tokens begin with would only puzzle. */
export function wordText(text: string): string {
  return tokenText(text.trim() === '' ? text : text.trim())
}

export interface TokensProps {
  label: string
  texts: readonly string[]
  selected: number
  onSelect(row: number): void
  /** Below each token. */
  under?: (row: number) => string
}

/** A text's tokens, one of which is looked at. */
export function Tokens({ label, texts, selected, onSelect, under }: TokensProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be a flex box everywhere
    <div class="tokens" role="group" aria-label={label}>
      {texts.map((text, row) => (
        <button
          key={row}
          type="button"
          class="token"
          aria-pressed={row === selected}
          onClick={() => onSelect(row)}
        >
          <span>{tokenText(text)}</span>
          {under && <small>{under(row)}</small>}
        </button>
      ))}
    </div>
  )
}
