import { useMemo, useState } from 'preact/hooks'
import { type CostDtype, DTYPE_BYTES } from '../../cost/bytes.ts'
import { inspectModel } from '../../cost/inspection.ts'
import { publishedShape } from '../../cost/published.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { parametersText, si } from '../../text/units.ts'
import { COUNTED, Fact } from '../parts/fact.tsx'
import { ShareBar } from '../parts/share-bar.tsx'
import { PUBLISHED, published, shortName } from './published.ts'

const CONTEXTS = [128, 1024, 4096, 32_768, 131_072]

export function InspectPart() {
  const [name, setName] = useState<string>(DEEPSEEK_V3.model)
  const [context, setContext] = useState(4096)
  const model = published(name)
  const [dtype, setDtype] = useState<CostDtype>(model.dtype)
  const inspection = useMemo(
    () => inspectModel(publishedShape(model), { context, dtype, batches: [1, 8, 64] }),
    [name, context, dtype],
  )
  const { parameters, flopsPerToken, bytesPerToken, bytes } = inspection
  const perToken = Object.entries(flopsPerToken.decode).filter(
    ([part, flops]) => part !== 'total' && flops > 0,
  )
  return (
    <section class="card" aria-labelledby="inspect-heading">
      <h2 id="inspect-heading">A model from its shapes</h2>
      <div class="form">
        <label class="field">
          <span>Published model</span>
          <select
            value={name}
            onChange={({ currentTarget }) => {
              setName(currentTarget.value)
              setDtype(published(currentTarget.value).dtype)
            }}
          >
            {PUBLISHED.map((each) => (
              <option key={each.name} value={each.name}>
                {shortName(each)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Context, tokens</span>
          <select value={context} onChange={({ currentTarget }) => setContext(Number(currentTarget.value))}>
            {CONTEXTS.map((tokens) => (
              <option key={tokens} value={tokens}>
                {tokens.toLocaleString('en')}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Weights</span>
          <select value={dtype} onChange={({ currentTarget }) => setDtype(currentTarget.value as CostDtype)}>
            {Object.keys(DTYPE_BYTES).map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
      </div>
      <div class="costs" aria-live="polite">
        <ShareBar
          name="Parameters"
          part={parameters.active}
          whole={parameters.total}
          text={parametersText}
          formula="K of E experts a layer, everything else in full"
        />
        <ShareBar
          name="Arithmetic to write a token"
          part={flopsPerToken.decode.total}
          whole={flopsPerToken.decodeEveryExpert.total}
          text={(value) => si(value, 'FLOP')}
          formula="2 FLOP a weight of each product, attention over the context"
        />
        <ShareBar
          name="Weights read for a token"
          part={bytesPerToken.weights}
          whole={bytes.allWeights}
          text={(value) => si(value, 'B')}
          formula={`${DTYPE_BYTES[dtype]} bytes a weight that is used`}
        />
      </div>
      <p>
        Of a written token's arithmetic{' '}
        <Fact
          value={si(flopsPerToken.decode.total, 'FLOP')}
          title="FLOPs to write a token, by part"
          formula="sum of the parts"
          inputs={perToken.map(([part, flops]) => [part, si(flops, 'FLOP')])}
          source={COUNTED}
        />
        , and {si(bytesPerToken.cacheRead, 'B')} of keys and values are read for it too. Published:{' '}
        {model.published.printed.total} in all
        {model.published.printed.active ? `, ${model.published.printed.active} active` : ''}.{' '}
        <small>Source: {model.published.source}</small>
      </p>
    </section>
  )
}
