import { Calculator } from '../calculator/calculator.tsx'
import { Playground } from '../play/playground.tsx'
import { StoryState } from '../story/state.tsx'
import { Story } from '../story/story.tsx'
import { WithEngine } from './engine.tsx'
import { Header } from './header.tsx'
import { usePlace } from './route.ts'

function View() {
  const { view, step, query } = usePlace()
  if (view === 'play') return <Playground query={query} />
  return view === 'calculator' ? <Calculator /> : <Story step={step} />
}

function Waiting() {
  return (
    <main class="waiting">
      <h1>See a mixture think</h1>
      <p>A small mixture of experts is on its way to your browser.</p>
      <div class="progress" role="progressbar" aria-label="Loading">
        <span />
      </div>
    </main>
  )
}

export function App() {
  return (
    <WithEngine
      waiting={
        <>
          <header class="top">
            <p class="brand">tinymoe</p>
          </header>
          <Waiting />
        </>
      }
    >
      <Header />
      <StoryState>
        <View />
      </StoryState>
    </WithEngine>
  )
}
