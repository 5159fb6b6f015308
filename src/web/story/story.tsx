import { useEffect, useRef } from 'preact/hooks'
import { STEPS } from '../app/route.ts'
import { TokenStep } from './step-01-token.tsx'
import { ScoresStep } from './step-02-scores.tsx'
import { ChoiceStep } from './step-03-choice.tsx'
import { DispatchStep } from './step-04-dispatch.tsx'
import { ComputeStep } from './step-05-compute.tsx'
import { CombineStep } from './step-06-combine.tsx'
import { SentenceStep } from './step-07-sentence.tsx'
import { CostStep } from './step-08-cost.tsx'
import { RaceStep } from './step-09-race.tsx'
import { ArticleStep } from './step-10-article.tsx'

const TITLES = [
  'A token arrives',
  'A router scores the experts',
  'Only the best are chosen',
  'The token is sent to them',
  'They compute, the others sleep',
  'Their answers are mixed',
  'A whole sentence',
  'What it costs',
  'Dense against sparse, timed here',
  'The same idea, large',
] as const

const VIEWS = [
  TokenStep,
  ScoresStep,
  ChoiceStep,
  DispatchStep,
  ComputeStep,
  CombineStep,
  SentenceStep,
  CostStep,
  RaceStep,
  ArticleStep,
] as const

export function Story({ step }: { step: number }) {
  const View = VIEWS[step - 1]
  const heading = useRef<HTMLHeadingElement>(null)
  const shown = useRef(step)
  useEffect(() => {
    if (shown.current === step) return
    shown.current = step
    heading.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
  }, [step])
  return (
    <main class="story">
      <nav class="steps" aria-label="Steps of the story">
        {TITLES.map((title, i) => (
          <a
            key={title}
            href={`#story/${i + 1}`}
            aria-current={i + 1 === step ? 'step' : undefined}
            title={title}
          >
            <span aria-hidden="true">{i + 1}</span>
            <span class="unseen">{`Step ${i + 1}: ${title}`}</span>
          </a>
        ))}
      </nav>
      <p class="eyebrow">
        Step {step} of {STEPS}
      </p>
      <h1 ref={heading} tabIndex={-1}>
        {TITLES[step - 1]}
      </h1>
      <View />
      <nav class="turn" aria-label="Turn the page">
        {step > 1 ? <a href={`#story/${step - 1}`}>← {TITLES[step - 2]}</a> : <span />}
        {step < STEPS ? (
          <a class="next" href={`#story/${step + 1}`}>
            Next: {TITLES[step]} →
          </a>
        ) : (
          <a class="next" href="#play">
            To the playground →
          </a>
        )}
      </nav>
    </main>
  )
}
