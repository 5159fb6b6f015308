import { afterAll, beforeAll, describe } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { fixtureModel, goldenIndex, readGolden } from '../helpers/golden.ts'
import { goldenCases } from '../helpers/golden-cases.ts'

/** One case of each family on WebAssembly, one of all on plain JavaScript, which is slow. */
const BASES = goldenIndex()
  .filter((entry) => entry.case === 'base')
  .map(({ dir }) => ['wasm', dir] as const)

describe.each([...BASES, ['js', 'mixtral'] as const])('%s, %s', (device, dir) => {
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device })
    model = fixtureModel(dir)
  })
  afterAll(() => model.dispose())
  goldenCases(
    () => model,
    readGolden(`${dir}/golden.json`),
    dir === 'mixtral' ? {} : { dispatches: ['auto'] },
  )
})
