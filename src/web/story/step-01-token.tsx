import { TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { Strip } from '../parts/strip.tsx'
import { wordText } from '../parts/tokens.tsx'
import { useTyped } from '../parts/typed.ts'
import { Size, Step, TheToken, TokenPicker } from './parts.tsx'
import { useStory } from './state.tsx'

/** Next tokens that are shown. */
const GUESSES = 3
const LEAST = 0.01

export function TokenStep() {
  const { run, row, facts, vectors } = useStory()
  const { hiddenSize: D, vocabSize: V, layers } = facts.config
  return (
    <Step
      text={
        <>
          <p class="lead">
            A <b>mixture of experts</b> runs only a part of itself for each word. In ten short steps you see
            which part, why that one, and what it saves, in a model that runs here in your browser.
          </p>
          <p>
            A language model guesses what comes next. It reads <b>tokens</b>: pieces of text that occur often.
            This small one knows <Size value={V} title="Tokens that the model knows (V)" /> of them.
          </p>
          <p>
            Each token has a number, and the number names a row of a table. The row of <TheToken /> holds{' '}
            <Size value={D} title="Numbers a token (D)" /> numbers. They go through{' '}
            <Size value={layers.length} title="Layers" /> <b>layers</b>, and each layer adds to them what it
            finds.
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
            <span class="quoted">{wordText(text)}</span>{' '}
            <Fact
              quiet
              value={shareText(probability)}
              title={`Probability of ${wordText(text)}`}
              formula="softmax of the last layer's result times the table of tokens"
              inputs={run.next.map((each) => [`“${wordText(each.text)}”`, shareText(each.probability)])}
              source={ENGINE}
            />
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
