import { parametersText } from '../../text/units.ts'
import { costOfRun } from '../cost/of-run.ts'
import { TryIt } from '../parts/controls.tsx'
import { shareText } from '../parts/expert.tsx'
import { ENGINE, Fact } from '../parts/fact.tsx'
import { ParameterMap } from './parameter-map.tsx'
import { listText, Step, TheToken, TokenPicker } from './parts.tsx'
import { useStory } from './state.tsx'

export function ComputeStep() {
  const { run, row, facts } = useStory()
  const used = costOfRun(facts.config, run).used!
  const active = used.active[row]
  const awake = used.experts[row].reduce((sum, experts) => sum + experts.length, 0)
  const all = run.trace!.layers.reduce((sum, { numExperts }) => sum + numExperts, 0)
  const places = used.experts[row].map(
    (experts, l) => `layer ${run.trace!.layers[l].layer}: ${listText(experts)}`,
  )
  return (
    <Step
      text={
        <>
          <Lead />
          <p>
            <b>Parameters</b> are the numbers that the model learned in its training; M stands for a million.{' '}
            <Fact
              quiet
              value={`${awake} of ${all}`}
              title="Experts that were awake for this token"
              formula="sum over the layers of the experts that ran"
              inputs={[
                ...run.trace!.layers.map(({ layer, numExperts }, l): [string, string] => [
                  `layer ${layer}`,
                  `${used.experts[row][l].length} of ${numExperts}`,
                ]),
                ['asleep', String(all - awake)],
              ]}
              source={ENGINE}
            />{' '}
            experts were awake ({places.join('; ')}). The others were not even read from memory.
          </p>
          <p>
            What is always lit (attention, tables, routers) every token shares. The experts are where a
            mixture keeps most of its knowledge, and where it saves.
          </p>
          <TryIt what="Press one token after the other and watch which experts wake up.">
            <TokenPicker />
          </TryIt>
        </>
      }
      picture={<ParameterMap active={active} />}
      caption="A block is as wide as it has parameters. Lit ones ran for the token; grey ones slept. The numbered ones are the experts; left of them attention, which looks back at the text, and as a sliver the router."
    />
  )
}

/** How many of the model's parameters ran for the token that is followed. */
export function ParametersRan({ quiet }: { quiet?: boolean }) {
  const { run, row, facts } = useStory()
  const used = costOfRun(facts.config, run).used!
  return (
    <Fact
      quiet={quiet}
      value={`${parametersText(used.active[row])} of ${parametersText(used.total)}`}
      title="Parameters that ran for this token"
      formula="what every token uses + its experts"
      inputs={[
        ...Object.entries(used.always).map(([name, count]): [string, string] => [
          name,
          parametersText(count),
        ]),
        ...used.experts[row].map((experts, l): [string, string] => [
          `experts of layer ${run.trace!.layers[l].layer}`,
          `${experts.length} × ${parametersText(used.expert[l])}`,
        ]),
        ['all', parametersText(used.total)],
      ]}
      source={ENGINE}
    />
  )
}

function Lead() {
  const { run, row, facts } = useStory()
  const used = costOfRun(facts.config, run).used!
  const active = used.active[row]
  return (
    <p class="lead">
      This is the whole model, drawn to scale. For <TheToken />, <ParametersRan /> parameters ran:{' '}
      <Fact
        value={shareText(active / used.total)}
        title="Share of the parameters that ran"
        formula="parameters that ran / all parameters"
        inputs={[
          ['ran', parametersText(active)],
          ['all', parametersText(used.total)],
        ]}
        source={ENGINE}
      />
      .
    </p>
  )
}
