import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { FIXTURES, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

/** The recorded executor against the reference; hidden states stay inside a graph, everything else is compared. */
describe.each([
  ['mixtral', 'mixtral/golden.json'],
  ['mixtral/fused', 'mixtral/golden.json'],
  ['mixtral/sharded', 'mixtral/golden.json'],
  ['mixtral/bf16', 'mixtral/bf16/golden.json'],
  ['glm4_moe', 'glm4_moe/golden.json'],
  ['llama', 'llama/golden.json'],
  ['llama/f16', 'llama/f16/golden.json'],
])('recorded, %s against %s', (dir, golden) => {
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel(join(FIXTURES, dir), { device: 'cpu', executor: 'recorded' })
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden(golden), { hiddenStates: false })
})
