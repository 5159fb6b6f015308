import { afterAll, beforeAll, describe } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { fixtureModel, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

describe.each(['wasm', 'js'] as const)('%s, mixtral', (device) => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device })
    model = fixtureModel('mixtral')
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden('mixtral/golden.json'))
})
