import { utilisation } from '../../trace/statistics.ts'
import { useEngine } from '../app/engine.tsx'
import type { LayerCards } from '../build/site.ts'
import { ExpertChip, shareText } from '../parts/expert.tsx'
import { tokenText } from '../parts/tokens.tsx'
import { usePlay } from './state.tsx'

/** Who an expert is: what it gets here, and what it got in texts that the model never saw. */
export function ExpertCard() {
  const { expert: picked, after, changes, setChanges, setExpert, facts } = usePlay()
  const { cards } = useEngine()
  if (!picked || !after.trace) return null
  const layer = after.trace.layers[Math.min(picked.layerIndex, after.trace.layers.length - 1)]
  const { expert } = picked
  const own = { layer: layer.layer, expert }
  const isOff = changes.off.some((off) => off.layer === own.layer && off.expert === expert)
  const card = cards[facts.id]?.find((each) => each.layer === layer.layer)
  const seen = card?.experts[expert]
  const toggle = () =>
    setChanges({
      off: isOff
        ? changes.off.filter((off) => off.layer !== own.layer || off.expert !== expert)
        : [...changes.off, own],
    })
  return (
    <section class="card expert-card" aria-labelledby="expert-heading">
      <h2 id="expert-heading">
        <ExpertChip expert={expert} /> Expert {expert} of layer {layer.layer}
      </h2>
      <div class="buttons">
        <button type="button" aria-pressed={isOff} onClick={toggle}>
          {isOff ? 'Switch it on again' : 'Switch it off'}
        </button>
        <button type="button" onClick={() => setExpert(null)}>
          Close
        </button>
      </div>
      <p>
        In this text: {layer.tokensPerExpert[expert]} of {after.tokens.length} tokens,{' '}
        {shareText(utilisation(layer)[expert])} of the layer's work.
      </p>
      {card && seen && <Seen card={card} seen={seen} />}
    </section>
  )
}

/** What it got in texts that no training saw. */
function Seen({ card, seen }: { card: LayerCards; seen: LayerCards['experts'][number] }) {
  const { opening } = useEngine()
  return (
    <>
      <p>
        In {card.tokens} tokens of unseen texts: {shareText(seen.load)} of the work (even:{' '}
        {shareText(1 / card.experts.length)}).
      </p>
      <h3>Typical tokens</h3>
      <p class="typical">
        {seen.typical.map(({ text, share }) => (
          <span key={text} class="quoted" title={`${shareText(share)} of these tokens come here`}>
            {tokenText(text)}
          </span>
        ))}
      </p>
      <h3>Kinds of text</h3>
      <ul class="domains">
        {opening.samples.map(({ domain, name }) => (
          <li key={domain}>
            <span>{name}</span>
            <span class="share-track">
              <span style={{ width: `${100 * (seen.domains[domain] ?? 0)}%` }} />
            </span>
            <span>{shareText(seen.domains[domain] ?? 0)}</span>
          </li>
        ))}
      </ul>
    </>
  )
}
