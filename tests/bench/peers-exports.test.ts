import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FLOAT_DTYPES } from '../../src/checkpoint/dtype.ts'
import { exportModel } from '../../src/checkpoint/export.ts'
import { type CheckpointLayout, LAYOUTS } from '../../src/checkpoint/published.ts'
import { loadModel } from '../../src/load-model.ts'
import { REPOSITORY } from '../cli/run-cli.ts'
import { ARCHITECTURES } from '../families/arbitrary.ts'
import { FIXTURES, goldenIndex, maxDifference, readGolden } from '../helpers/golden.ts'

type Dtype = 'bf16' | 'f32'

/** The last line of bench/peers/check_exports.py: what transformers made of models that were exported. */
interface Stored {
  models: {
    model: string
    rows: { dtype: Dtype; layout: CheckpointLayout; sha256: string; difference: number; rounded: number }[]
    lastLogits: Record<Dtype, number[]>
  }[]
}

const { models }: Stored = JSON.parse(
  readFileSync(join(REPOSITORY, 'bench/results/peers-exports.json'), 'utf8'),
)

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-exports-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

test('every checkpoint with values of its own was exported, and so every family', () => {
  const own = goldenIndex().filter(({ dir, golden }) => golden === `${dir}/golden.json`)
  expect(models.map(({ model }) => model)).toEqual(own.map(({ dir }) => dir))
  expect(new Set(own.map(({ family }) => family))).toEqual(new Set(ARCHITECTURES))
})

describe.each(models)('$model', ({ model, rows, lastLogits }) => {
  test.each(rows)(
    '$dtype, $layout: the files that transformers read, and gave the same logits',
    async (row) => {
      const out = join(dir, model, row.dtype, row.layout)
      await exportModel(join(FIXTURES, model), out, { dtype: FLOAT_DTYPES[row.dtype], layout: row.layout })
      const hash = createHash('sha256')
      for (const name of ['config.json', 'model.safetensors']) hash.update(readFileSync(join(out, name)))
      expect(hash.digest('hex'), 'run bench/peers/check_exports.py again').toBe(row.sha256)
      expect(row.difference).toBeLessThan(2e-4)
      expect(row.rounded).toBeLessThan(row.dtype === 'f32' ? 1e-6 : 0.2)
    },
  )

  test.each(['f32', 'bf16'] as const)('%s: in both layouts, and its logits are ours', async (dtype) => {
    expect(rows.filter((row) => row.dtype === dtype).map(({ layout }) => layout)).toEqual([...LAYOUTS])
    const loaded = await loadModel(join(dir, model, dtype, 'published'), { device: 'js' })
    const prompt = readGolden(`${model}/golden.json`).prompts.at(-1)!.input_ids
    const logits = loaded.forward(prompt, { logits: 'last' }).logits.dataSync()
    loaded.dispose()
    expect(maxDifference(logits, lastLogits[dtype])).toBeLessThan(2e-4)
  })
})
