import { useMemo, useState } from 'preact/hooks'
import { type CostDtype, DTYPE_BYTES } from '../../cost/bytes.ts'
import { type Inspection, inspectModel } from '../../cost/inspection.ts'
import { type PublishedModel, publishedShape } from '../../cost/published.ts'
import { DEEPSEEK_V3 } from '../../cost/report.ts'
import { parametersText, si, thousands } from '../../text/units.ts'
import { Select } from '../parts/controls.tsx'
import { COUNTED, Fact } from '../parts/fact.tsx'
import { ShareBar } from '../parts/share-bar.tsx'
import { PUBLISHED, published, shortName } from './published.ts'

const CONTEXTS = [128, 1024, 4096, 32_768, 131_072]
const DTYPES = (Object.keys(DTYPE_BYTES) as CostDtype[]).map((value) => ({ value, text: value }))
const MODELS = PUBLISHED.map((model) => ({ value: model.name, text: shortName(model) }))

export function InspectPart() {
  const [name, setName] = useState<string>(DEEPSEEK_V3.model)
  const [context, setContext] = useState(4096)
  const model = published(name)
  const [dtype, setDtype] = useState<CostDtype>(model.dtype)
  const inspection = useMemo(
    () => inspectModel(publishedShape(model), { context, dtype, batches: [1] }),
    [name, context, dtype],
  )
  const choose = (chosen: string) => {
    setName(chosen)
    setDtype(published(chosen).dtype)
  }
  const contexts = CONTEXTS.map((value) => ({ value, text: value.toLocaleString('en') }))
  return (
    <section class="card" aria-labelledby="inspect-heading">
      <h2 id="inspect-heading">A model from its shapes</h2>
      <div class="form">
        <Select label="Published model" options={MODELS} value={name} onChange={choose} />
        <Select
          label="Context, tokens"
          options={contexts}
          value={context}
          onChange={(value) => setContext(value)}
        />
        <Select label="Weights" options={DTYPES} value={dtype} onChange={(value) => setDtype(value)} />
      </div>
      <Result model={model} inspection={inspection} dtype={dtype} />
    </section>
  )
}

interface ResultProps {
  model: PublishedModel
  inspection: Inspection
  dtype: CostDtype
}

function Result({ model: { published: figures }, inspection, dtype }: ResultProps) {
  const { parameters, flopsPerToken, bytesPerToken, bytes } = inspection
  const { decode } = flopsPerToken
  const parts = Object.entries(decode).filter(([part, flops]) => part !== 'total' && flops > 0)
  return (
    <>
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
          part={decode.total}
          whole={flopsPerToken.decodeEveryExpert.total}
          text={(value) => si(value, 'FLOP')}
          formula="2 FLOP a weight of each product, attention over the context"
        />
        <ShareBar
          name="Memory read for a token"
          part={bytesPerToken.weights}
          whole={bytes.allWeights}
          text={(value) => si(value, 'B')}
          formula={`${DTYPE_BYTES[dtype]} bytes a weight that is used`}
        />
      </div>
      <p>
        To write a token takes{' '}
        <Fact
          value={si(decode.total, 'FLOP')}
          title="FLOPs to write a token, by part"
          formula="sum of the parts"
          inputs={parts.map(([part, flops]) => [part, si(flops, 'FLOP')])}
          source={COUNTED}
        />
        , and{' '}
        <Fact
          quiet
          value={si(bytesPerToken.cacheRead, 'B')}
          title="Keys and values read for a token"
          formula="numbers kept of each token of the context × bytes of one"
          inputs={[
            ['context, tokens', thousands(bytesPerToken.context)],
            ['held in', bytesPerToken.cacheDtype],
          ]}
          source={COUNTED}
        />{' '}
        of keys and values are read for it too. Published: {figures.printed.total} in all
        {figures.printed.active ? `, ${figures.printed.active} active` : ''}.{' '}
        <small>Source: {figures.source}</small>
      </p>
    </>
  )
}
