import { utilisation } from '../../trace/statistics.ts'
import { useEngine } from '../app/engine.tsx'
import type { LayerCards } from '../build/site.ts'
import { ExpertChip, shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
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
  const share = utilisation(layer)[expert]
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
        In this text:{' '}
        <Fact
          quiet
          value={`${layer.tokensPerExpert[expert]} of ${after.tokens.length} tokens`}
          title={`Tokens of expert ${expert} of layer ${layer.layer}`}
          formula="tokens that have the expert among their K"
          inputs={Array.from(layer.tokensPerExpert, (tokens, e) => [`expert ${e}`, String(tokens)])}
          source={ENGINE}
        />
        ,{' '}
        <Fact
          quiet
          value={shareText(share)}
          title="Share of the layer's work"
          formula="its tokens / those of all experts"
          inputs={[
            ['its tokens', String(layer.tokensPerExpert[expert])],
            ['even (1 / E)', shareText(1 / layer.numExperts)],
          ]}
          source={ENGINE}
        />{' '}
        of the layer's work.
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
        In texts that no training saw:{' '}
        <Fact
          quiet
          value={shareText(seen.load)}
          title="Share of the layer's work"
          formula="its tokens / those of all experts"
          inputs={[
            ['tokens of texts', String(card.tokens)],
            ['even (1 / E)', shareText(1 / card.experts.length)],
          ]}
          source="Counted when this page was built."
        />{' '}
        of the work.
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
        {[...opening.samples, { domain: 'facts' as const, name: 'facts' }]
          .filter(({ domain }) => domain in seen.domains)
          .map(({ domain, name }) => (
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
