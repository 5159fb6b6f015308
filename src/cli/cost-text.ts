import { curveLines, multiple } from '../cost/picture.ts'
import type { Rebound } from '../cost/rebound.ts'
import type { TrainingCost, TrainingRun } from '../cost/training.ts'
import { table } from '../text/columns.ts'
import { dollars, parametersText, percent, si, thousands } from '../text/units.ts'

/** All that is printed; `--json` prints it as it is. */
export interface CostReport {
  /** Whose parameters and attention; null where --active and --total describe some other model. */
  model: string | null
  run: TrainingRun & { sequence: number }
  cost: TrainingCost
  leftOut: { what: string; dollars: number | null }[]
  rebound: {
    costFactor: number
    breakEvenElasticity: number
    rows: Rebound[]
    curve: Rebound[]
    /** Of --use-factor; null without it. */
    impliedElasticity: number | null
  }
}

/** The run, its FLOPs and dollars, the dense twin, what is left out, and the rebound. */
export function costText(report: CostReport): string {
  return [runText(report), denseText(report), ...leftOutText(report), reboundText(report)].join('\n')
}

function runText({ model, run, cost }: CostReport): string {
  const { active, total, tokens, hours, pretrainingHours, price, peak, sequence } = run
  const { utilisation, utilisationWithAttention: attended, attentionFlops, weightFlops } = cost
  const attention =
    attentionFlops === null
      ? 'not counted'
      : `${flop(attentionFlops)} (+${percent(attentionFlops / weightFlops)})`
  const rows = [
    [
      'parameters a token uses',
      `${parametersText(active)} of ${parametersText(total)} (${percent(active / total)})`,
    ],
    ['tokens', parametersText(tokens)],
    ['GPU hours', `${thousands(hours)}, of them ${thousands(pretrainingHours)} of pre-training`],
    ['6 N D', flop(weightFlops)],
    [`attention, sequences of ${sequence}`, attention],
    ['each GPU, by 6 N D', si(cost.flopsPerSecond, 'FLOP/s')],
    ['hours at the bfloat16 peak', thousands(cost.hoursAtPeak)],
    [
      `price at $${price} an hour`,
      `${dollars(cost.dollars)}, of it ${dollars(cost.pretrainingDollars)} for pre-training`,
    ],
  ]
  const used = (['bfloat16', 'fp8'] as const).map((type) => [
    `${type}, ${si(peak[type], 'FLOP/s')}`,
    percent(utilisation[type]),
    attended ? percent(attended[type]) : 'not counted',
  ])
  const warning =
    utilisation.bfloat16 > 1
      ? 'That is more than a GPU can do in bfloat16: these inputs do not belong together, or it was not bfloat16.\n'
      : ''
  return (
    table([[`training of ${model ?? 'this model'}`, ''], ...rows], [0, 1]) +
    `\n${table([['utilisation of the peak', '6 N D', 'with attention'], ...used], [0])}${warning}`
  )
}

function denseText({ run, cost }: CostReport): string {
  const { weightFlops, timesFlops, pretrainingHours, pretrainingDollars } = cost.dense
  const row = (name: string, flops: number, hours: number, price: number) => [
    name,
    flop(flops),
    thousands(hours),
    dollars(price),
  ]
  return (
    table(
      [
        ['pre-training', '6 N D', 'GPU hours', 'price'],
        row(
          `sparse, ${parametersText(run.active)} active`,
          cost.weightFlops,
          run.pretrainingHours,
          cost.pretrainingDollars,
        ),
        row(`dense, ${parametersText(run.total)}`, weightFlops, pretrainingHours, pretrainingDollars),
      ],
      [0],
    ) +
    `The same tokens with every parameter active, at the same FLOP/s a GPU: ${multiple(timesFlops)} (attention, which does not\n` +
    'change, included where it is counted). Same size, not same quality.\n'
  )
}

function leftOutText({ leftOut }: CostReport): string[] {
  if (leftOut.length === 0) return []
  const rows = leftOut.map(({ what, dollars: cost }) => [
    what,
    cost === null ? 'not published' : dollars(cost),
  ])
  return [table([['not in that price', ''], ...rows], [0, 1])]
}

function reboundText({ rebound }: CostReport): string {
  const { costFactor, rows, curve, impliedElasticity } = rebound
  const body = rows.map((row) => [
    String(row.elasticity),
    multiple(row.use),
    multiple(row.spend),
    verdict(row.spend),
  ])
  return (
    table(
      [[`cost a token ${multiple(costFactor).replace('x', '1/')}: elasticity`, 'use', 'spend', ''], ...body],
      [3],
    ) +
    'Use grows as price^-e, so spend is multiplied by f^(e-1): it falls below an elasticity of 1, and grows above.\n' +
    (impliedElasticity === null
      ? ''
      : `The use that was given means an elasticity of ${impliedElasticity.toFixed(3)}.\n`) +
    `\nspend (logarithmic) by elasticity; + break-even, o the rows above\n${curveLines(curve, rows)
      .map((line) => `${line}\n`)
      .join('')}`
  )
}

function verdict(spend: number): string {
  if (Math.abs(spend - 1) < 1e-9) return 'the same'
  return spend < 1 ? 'less is spent' : 'more is spent'
}

/** `3.286e24 FLOP`. */
function flop(value: number): string {
  return `${value.toExponential(3).replace('e+', 'e')} FLOP`
}
