import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { FIXTURES, goldenIndex, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

const OWN = goldenIndex().filter(({ dir, golden }) => golden === `${dir}/golden.json`)

/** The recorded executor against the reference; hidden states stay inside a graph, everything else is compared. */
describe.each(OWN)('recorded, $dir', ({ dir, golden }) => {
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel(join(FIXTURES, dir), { device: 'cpu', executor: 'recorded' })
  })
  afterAll(() => model.dispose())
  goldenCases(() => model, readGolden(golden), { hiddenStates: false, dispatches: ['auto'] })
})
