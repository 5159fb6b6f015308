import { countParameters, expertParameters } from '../../cost/parameters.ts'
import { parametersText } from '../../text/units.ts'
import { expertColour } from '../../trace/colours.ts'
import { ExpertChip } from '../parts/expert.tsx'
import { useStory } from './state.tsx'

interface Block {
  name: string
  parameters: number
  lit: boolean
  /** Of a routed expert. */
  expert?: number
}

/** Every parameter of the model, to scale: what ran for the token is lit. */
export function ParameterMap({ active }: { active: number }) {
  const { facts, run, row } = useStory()
  const { total } = countParameters(facts.config)
  const rows = rowsOf(useStory())
  const widest = Math.max(
    ...rows.map(({ blocks }) => blocks.reduce((sum, { parameters }) => sum + parameters, 0)),
  )
  const label = `${parametersText(active)} of ${parametersText(total)} parameters are lit for token ${row} of ${run.tokens.length}`
  return (
    <div class="map" role="img" aria-label={label}>
      {rows.map(({ name, blocks }) => (
        <div class="map-row" key={name}>
          <span class="map-name">{name}</span>
          <div class="map-blocks">
            {blocks.map((block) => (
              <span
                key={block.name}
                class={`block${block.lit ? ' lit' : ''}`}
                style={{
                  width: `${(100 * block.parameters) / widest}%`,
                  '--colour': block.expert === undefined ? 'var(--always)' : expertColour(block.expert),
                }}
                title={`${block.name}: ${parametersText(block.parameters)}${block.lit ? '' : ', did not run'}`}
              >
                {block.expert !== undefined && <ExpertChip expert={block.expert} lit={block.lit} />}
              </span>
            ))}
          </div>
        </div>
      ))}
    </div>
  )
}

function rowsOf({
  facts: { config },
  run,
  row,
}: ReturnType<typeof useStory>): { name: string; blocks: Block[] }[] {
  const { parts } = countParameters(config)
  const D = config.hiddenSize
  const attention = { name: 'attention', parameters: parts.attention / config.layers.length, lit: true }
  const layers = config.layers.map(({ feedForward }, i) => {
    if (feedForward.kind === 'dense') {
      const dense = {
        name: 'feed-forward',
        parameters: expertParameters(D, feedForward.intermediateSize),
        lit: true,
      }
      return { name: `layer ${i}`, blocks: [attention, dense] }
    }
    const routed = run.trace!.layers.find(({ layer }) => layer === i)!
    const K = routed.topK
    const chosen = routed.expertIndices.subarray(row * K, (row + 1) * K)
    const { sharedExpert } = feedForward
    const shared = sharedExpert
      ? [{ name: 'shared expert', parameters: expertParameters(D, sharedExpert.intermediateSize), lit: true }]
      : []
    const experts = Array.from({ length: feedForward.router.numExperts }, (_, e) => ({
      name: `expert ${e}`,
      parameters: expertParameters(D, feedForward.intermediateSize),
      lit: chosen.includes(e),
      expert: e,
    }))
    const router = { name: 'router', parameters: D * feedForward.router.numExperts, lit: true }
    return { name: `layer ${i}`, blocks: [attention, router, ...shared, ...experts] }
  })
  const table = (name: string, parameters: number) => ({ name, blocks: [{ name, parameters, lit: true }] })
  return [
    table('input table', parts.embedding),
    ...layers,
    ...(parts.unembedding > 0 ? [table('output table', parts.unembedding)] : []),
  ]
}
