import { useEffect, useState } from 'preact/hooks'
import { countParameters } from '../../cost/parameters.ts'
import { parametersText } from '../../text/units.ts'
import { Busy } from '../parts/controls.tsx'
import { useEngine } from './engine.tsx'
import { usePlace } from './route.ts'

const VIEWS = [
  { view: 'story', text: 'Story' },
  { view: 'play', text: 'Playground' },
  { view: 'calculator', text: 'Calculator' },
] as const

const THEMES = ['auto', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]
const THEME_KEY = 'tinymoe-theme'

export function Header() {
  const { view } = usePlace()
  return (
    <header class="top">
      <p class="brand">
        <a href="#story/1">tinymoe</a>
      </p>
      <nav aria-label="Parts of the page">
        {VIEWS.map((each) => (
          <a key={each.view} href={`#${each.view}`} aria-current={each.view === view ? 'page' : undefined}>
            {each.text}
          </a>
        ))}
      </nav>
      <EngineStatus />
      <ThemeButton />
    </header>
  )
}

/** What runs, or how much of it has come. */
function EngineStatus() {
  const { loading, models, failure } = useEngine()
  const running = [...models.values()].map(
    ({ name, config }) => `${name}: ${parametersText(countParameters(config).total)}`,
  )
  const text = loading
    ? `loading ${loading.name}${loading.share === null ? '' : ` ${Math.round(100 * loading.share)} %`}`
    : failure && running.length === 0
      ? failure
      : running.length > 0 && `${running.join(', ')} parameters, running here`
  return (
    <div class="status" role="status">
      <span>{text}</span>
      <Busy busy={loading !== null} share={loading?.share} />
    </div>
  )
}

function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(() => {
    const kept = localStorage.getItem(THEME_KEY)
    return THEMES.find((each) => each === kept) ?? 'auto'
  })
  useEffect(() => {
    document.documentElement.dataset.theme = theme
    localStorage.setItem(THEME_KEY, theme)
  }, [theme])
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]
  return (
    <button
      type="button"
      class="theme"
      onClick={() => setTheme(next)}
      aria-label={`Theme: ${theme}. Change to ${next}`}
    >
      Theme: {theme}
    </button>
  )
}
