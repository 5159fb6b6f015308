import { beforeAll, describe, expect, test } from 'vitest'
import type { CardStep } from './card-steps.ts'
import { type AuditCase, auditCases, expectedWaits, forEachStep, labelOf, MOST_LAUNCHES } from './cases.ts'
import { checkGraph, total } from './check-graph.ts'
import { type Registrations, storedRegistrations } from './registrations.ts'
import { REMAINING } from './remaining.ts'

// What a card would do with the recorded graphs, by the kernels that TensorFlow's CUDA build registers: needs neither card nor
// that build. placement.test.ts asks TensorFlow itself.
const registrations = storedRegistrations()
const steps = new Map<string, [AuditCase, CardStep]>()
const cases = auditCases()

beforeAll(async () => {
  await forEachStep(cases, (item, step) => {
    steps.set(labelOf(item), [item, step])
  })
})

const stepOf = (label: string) => steps.get(label) as [AuditCase, CardStep]

describe.each(cases.map(labelOf))('%s', (label) => {
  test('every node has a kernel on a card, and nothing is waited for but the sizes of groups', () => {
    const [item, step] = stepOf(label)
    const { missing, waits, toCard } = checkGraph(step, registrations)
    expect(missing).toEqual([])
    expect(waits).toEqual(new Array(expectedWaits(item)).fill('Bincount => SplitV'))
    // Tokens, rows and slots; the numbers of float32; of groups an empty list of weights.
    for (const copy of toCard) {
      expect(copy).toMatch(/^(SplitV => (GatherV2|Bitcast)|Add => InplaceUpdate|Const => Bincount)$/)
    }
  })
})

const DECODED = 'moe float32 auto, a decoded token'

test(`a decoded token of moe launches at most ${MOST_LAUNCHES} ops, each with a reason`, () => {
  const { launches } = checkGraph(stepOf(DECODED)[1], registrations)
  expect(total(launches)).toBeLessThanOrEqual(MOST_LAUNCHES)
  expect(Object.keys(launches).filter((op) => !REMAINING[op])).toEqual([])
})

describe('what would be wrong is found', () => {
  test('each op that a step needs: without its kernels the step has no place to run', () => {
    const [, step] = stepOf(DECODED)
    for (const op of ['BatchMatMulV2', 'FusedBatchNormV3', 'TopKV2', 'InplaceUpdate', 'Reshape']) {
      const without: Registrations = { ...registrations, [op]: { ...registrations[op], kernels: [] } }
      expect(checkGraph(step, without).missing.length, op).toBeGreaterThan(0)
    }
  })

  test('one registration of many: of one type alone', () => {
    const { GatherV2 } = registrations
    const kernels = GatherV2.kernels.filter(({ types }) => !types.Tparams?.includes(14))
    expect(kernels.length).toBeLessThan(GatherV2.kernels.length)
    const without: Registrations = { ...registrations, GatherV2: { ...GatherV2, kernels } }
    expect(checkGraph(stepOf(DECODED)[1], without).missing).toEqual([])
    const { missing } = checkGraph(stepOf('moe bfloat16 auto, a decoded token')[1], without)
    expect(new Set(missing)).toEqual(new Set(['GatherV2 Tparams=bfloat16 Tindices=int32 Taxis=int32']))
  })

  test('an argument that moves to the host is waited for', () => {
    const { Softmax } = registrations
    const kernels = Softmax.kernels.map((kernel) => ({ ...kernel, host: ['logits'] }))
    const { waits } = checkGraph(stepOf(DECODED)[1], { ...registrations, Softmax: { ...Softmax, kernels } })
    expect(waits.length).toBe(8)
  })
})
