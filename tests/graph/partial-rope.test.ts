import { expect, test } from 'vitest'
import { groupedIn } from '../../src/families/format.ts'
import { loadModel } from '../../src/load-model.ts'

test('a long prompt of a model that rotates half of its channels runs recorded as it does op by op', async () => {
  const dir = 'tests/fixtures/glm4_moe'
  const recorded = await loadModel(dir, { device: 'cpu', executor: 'recorded' })
  const eager = await loadModel(dir, { device: 'cpu', executor: 'eager' })
  try {
    const { vocabSize } = recorded.config
    const attention = groupedIn(recorded.config)
    expect(attention.rope.rotaryDim).toBeLessThan(attention.headDim)
    const tokens = Array.from({ length: 150 }, (_, i) => 3 + ((i * 37) % (vocabSize - 3)))
    const [a, b] = [recorded.forward(tokens).logits, eager.forward(tokens).logits]
    const [got, wanted] = [a.dataSync(), b.dataSync()]
    for (const [i, value] of wanted.entries()) expect(Math.abs(got[i] - value)).toBeLessThan(1e-3)
    a.dispose()
    b.dispose()
  } finally {
    recorded.dispose()
    eager.dispose()
  }
})
