import { dirname } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { allTensors } from '../../src/model/weights.ts'
import { ARCHITECTURES } from '../families/arbitrary.ts'
import { fixtureModel, goldenIndex, readFixture, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

/** Every checkpoint of the reference that has values of its own. */
const OWN = goldenIndex().filter(({ dir, golden }) => golden === `${dir}/golden.json`)

describe.each(OWN)('$dir', ({ dir, golden }) => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
    model = fixtureModel(dir)
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden(golden))

  test('the older dialect of config.json says the same', () => {
    const { config } = readFixture(dir, 'config.published.json')
    expect(config).toEqual(model.config)
  })
})

test.each(goldenIndex().filter((entry) => !OWN.includes(entry)))(
  '$dir holds the same weights in another layout',
  async ({ dir, golden }) => {
    await startRuntime({ device: 'cpu' })
    const models = [fixtureModel(dir), fixtureModel(dirname(golden))]
    const [own, other] = models.map(({ weights }) => allTensors(weights).map((tensor) => tensor.dataSync()))
    for (const model of models) model.dispose()
    expect(own).toEqual(other)
  },
)

test('all 30 cases of 13 families are there', () => {
  const families = new Set(goldenIndex().map(({ family }) => family))
  expect([goldenIndex().length, OWN.length, families.size]).toEqual([30, 22, 13])
  expect([...families].sort()).toEqual([...ARCHITECTURES].sort())
})
