import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { FIXTURES, fixtureModel, goldenIndex, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

/** Every checkpoint of the reference, in every layout, storage type and config dialect. */
const CASES = goldenIndex().flatMap(({ dir, golden }) =>
  ['config.json', 'config.published.json']
    .filter((config) => existsSync(join(FIXTURES, dir, config)))
    .map((config) => [dir, golden, config] as const),
)

describe.each(CASES)('%s against %s (%s)', (dir, golden, config) => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
    model = fixtureModel(dir, config)
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden(golden))
})
