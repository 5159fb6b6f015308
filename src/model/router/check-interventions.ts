import { assertNames, assertObject, assertOneOf, assertThat, assertWhole } from '../../checks.ts'
import type { Interventions } from './types.ts'

/** Names by type: one that the type gains or loses does not compile here. */
const INTERVENTIONS = {
  topK: 0,
  temperature: 0,
  disable: 0,
  bias: 0,
  force: 0,
  replace: 0,
  capacity: 0,
} satisfies Record<keyof Interventions, 0>
const REPLACEMENTS = { random: 0, 'round-robin': 0, trace: 0 } satisfies Record<
  NonNullable<Interventions['replace']>['by'],
  0
>

/**
 * The form of what a caller gives, before any layer is looked at: a misspelt name would else change nothing, unheard.
 * @throws InputError naming the intervention, the value and what was expected
 */
export function checkForm(interventions: Interventions): void {
  const names = Object.keys(INTERVENTIONS)
  assertObject('interventions', interventions, `an object with any of ${names.join(', ')}`)
  assertNames('interventions', interventions, INTERVENTIONS)
  const { disable, bias, force, replace, capacity } = interventions
  checkList('disable', disable, '{ expert, layer? }')
  checkList('bias', bias, '{ expert, value, layer? }')
  checkList('force', force, '{ position, experts, layer?, sequence? }')
  force?.forEach(({ position, experts, sequence }, i) => {
    assertWhole(`force[${i}].position`, position, 0)
    if (sequence !== undefined) assertWhole(`force[${i}].sequence`, sequence, 0)
    assertThat(`force[${i}].experts`, experts, Array.isArray(experts), 'a list of experts')
  })
  if (replace !== undefined) checkReplace(replace)
  if (capacity !== undefined) assertObject('capacity', capacity, '{ factor, policy }')
}

function checkList(name: string, list: unknown, item: string): void {
  if (list === undefined) return
  assertThat(name, list, Array.isArray(list), `a list of ${item}`)
  list.forEach((value, i) => {
    assertObject(`${name}[${i}]`, value, item)
  })
}

function checkReplace(replace: NonNullable<Interventions['replace']>): void {
  assertObject('replace', replace, "{ by: 'random', seed }, { by: 'round-robin' } or { by: 'trace', trace }")
  assertOneOf('replace.by', replace.by, Object.keys(REPLACEMENTS))
  if (replace.by === 'random') assertWhole('replace.seed', replace.seed, 0)
  if (replace.by !== 'trace') return
  const { trace } = replace
  assertThat('replace.trace', trace, Boolean(trace?.rows && trace.layers), 'the trace of a run')
}
