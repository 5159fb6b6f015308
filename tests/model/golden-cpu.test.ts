import { afterAll, beforeAll, describe } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { fixtureModel, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

/** Every Mixtral, GLM-4 and Llama checkpoint of the reference, in every layout, storage type and config dialect. */
const CASES: [dir: string, golden: string, config: string][] = [
  ['mixtral', 'mixtral/golden.json', 'config.json'],
  ['mixtral', 'mixtral/golden.json', 'config.published.json'],
  ['mixtral/fused', 'mixtral/golden.json', 'config.json'],
  ['mixtral/sharded', 'mixtral/golden.json', 'config.json'],
  ['mixtral/bf16', 'mixtral/bf16/golden.json', 'config.json'],
  ['mixtral/bf16', 'mixtral/bf16/golden.json', 'config.published.json'],
  ['glm4_moe', 'glm4_moe/golden.json', 'config.json'],
  ['glm4_moe', 'glm4_moe/golden.json', 'config.published.json'],
  ['llama', 'llama/golden.json', 'config.json'],
  ['llama', 'llama/golden.json', 'config.published.json'],
  ['llama/f16', 'llama/f16/golden.json', 'config.json'],
  ['llama/f16', 'llama/f16/golden.json', 'config.published.json'],
]

describe.each(CASES)('native CPU, %s against %s with %s', (dir, golden, config) => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
    model = fixtureModel(dir, config)
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden(golden))
})
