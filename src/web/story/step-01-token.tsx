import { TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { Fact } from '../parts/fact.tsx'
import { Strip } from '../parts/strip.tsx'
import { wordText } from '../parts/tokens.tsx'
import { useTyped } from '../parts/typed.ts'
import { Step, TheToken, TokenPicker } from './parts.tsx'
import { useStory } from './state.tsx'

/** Next tokens that are shown. */
const GUESSES = 3
const LEAST = 0.01

export function TokenStep() {
  const { run, row, facts, vectors } = useStory()
  const { hiddenSize: D, vocabSize: V, layers } = facts.config
  const width = (
    <Fact
      value={String(D)}
      title="Numbers a token (D)"
      formula="hidden_size of config.json"
      inputs={[['table of tokens', `${V} rows of ${D} numbers`]]}
      source={`The model ${facts.name}.`}
    />
  )
  return (
    <Step
      text={
        <>
          <p class="lead">
            A language model guesses what comes next. It reads <b>tokens</b>: pieces of text that occur often.
            This small one knows {V} of them.
          </p>
          <p>
            Each token has a number, and the number names a row of a table. The row of <TheToken /> holds{' '}
            {width} numbers. They go through {layers.length} <b>layers</b>, and each layer adds to them what
            it finds.
          </p>
          <TryIt what="Write something short, then press the token you want to follow. ␣ stands for a space, <s> for the beginning of a text.">
            <TextBox />
            <TokenPicker />
          </TryIt>
        </>
      }
      picture={
        <div class="flow">
          <div class="big-token">
            <TheToken />
          </div>
          <Down />
          <p class="mono">token {run.tokens[row]}</p>
          <Down />
          <Strip values={vectors.embedding} label="The token as numbers" />
          <Down />
          <p class="mono">{layers.length} layers</p>
          <Down />
          <Guess />
        </div>
      }
      caption={
        <>
          Token, number, row of the table: orange is above zero, blue below. At the bottom what the model
          guesses after the whole text.
        </>
      }
    />
  )
}

/** What may follow the whole text. */
function Guess() {
  const { run } = useStory()
  return (
    <p class="guess">
      next:{' '}
      {run.next
        .slice(0, GUESSES)
        .filter(({ probability }) => probability >= LEAST)
        .map(({ token, text, probability }) => (
          <span key={token}>
            <span class="quoted">{wordText(text)}</span> {shareText(probability)}
          </span>
        ))}
    </p>
  )
}

function TextBox() {
  const { text, setText } = useStory()
  const { own, setOwn, waiting } = useTyped(text, setText)
  return (
    <label class="field" aria-busy={waiting}>
      <span>Your text</span>
      <input
        value={own}
        maxLength={120}
        spellcheck={false}
        onInput={({ currentTarget }) => setOwn(currentTarget.value)}
      />
    </label>
  )
}

export function Down() {
  return (
    <span class="down" aria-hidden="true">
      ↓
    </span>
  )
}
