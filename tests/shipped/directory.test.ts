import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countParameters } from '../../src/cost/index.ts'
import { readConfig } from '../../src/load-model.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { type PresetName, presetOf, type SizeName } from '../../src/train/presets.ts'
import { modelDir, pinned, readPin, readsFacts, trainedModels, weightsHash } from './pins.ts'

const MAX_BYTES = 8e6
/** Of "Once upon a time", as transformers 5.24 has them. */
const FACTS_IDS = [1, 49, 80, 363, 223, 571, 267, 298, 268, 451, 71]

test('every trained model has a pin, and every pin a model: `npx tsx models/pin.ts`', () => {
  expect(trainedModels()).toContain('moe')
  expect(pinned().sort()).toEqual(trainedModels().sort())
})

test.each([true, false])(
  'all that read facts (%s) have one tokenizer, so that their losses a token compare',
  (facts) => {
    const names = trainedModels().filter((name) => readsFacts(name) === facts)
    expect(names.length).toBeGreaterThan(2)
    const files = names.map((name) => readFileSync(join(modelDir(name), 'tokenizer.json'), 'utf8'))
    expect(new Set(files).size).toBe(1)
  },
)

describe.each(trainedModels())('models/%s', (name) => {
  const dir = modelDir(name)
  const { config } = readConfig(dir)

  test('has the weights that were pinned', () => {
    expect(weightsHash(dir)).toBe(readPin(name).weights)
  })

  test('is at most 8 MB', () => {
    const bytes = readdirSync(dir).reduce((sum, file) => sum + statSync(join(dir, file)).size, 0)
    expect(bytes).toBeLessThanOrEqual(MAX_BYTES)
  })

  test('has a card with its parameters, its seed, and the command that trains this architecture', () => {
    const card = readFileSync(join(dir, 'README.md'), 'utf8')
    const { total, active } = countParameters(config)
    const said = (count: number) => count.toLocaleString('en-US')
    expect(card).toContain(`Parameters: ${said(total)}`)
    if (active < total) expect(card).toContain(`of which one token uses ${said(active)}`)
    const [, command] = /^npm run train -- (.+)$/m.exec(card)!
    const flag = (of: string, otherwise?: string) =>
      new RegExp(`--${of} (\\S+)`).exec(command)?.[1] ?? otherwise
    const [preset, size] = [flag('preset') as PresetName, flag('size', 'full') as SizeName]
    expect(presetOf({ preset, size }).config).toEqual(config)
    expect(Number(flag('steps'))).toBeGreaterThan(0)
    expect(card).toContain(`seed ${Number(flag('seed'))}`)
  })

  test('has a tokenizer that puts <s> before a prompt, as the config says', async () => {
    const tokenizer = await loadTokenizer(dir)
    // transformers 5.23, AutoTokenizer.from_pretrained(dir)(text)['input_ids']
    expect(await tokenizer!.encode('Once upon a time')).toEqual(
      readsFacts(name) ? FACTS_IDS : [1, 49, 80, 313, 647, 274, 262, 687],
    )
    expect(config.bosTokenId).toBe(1)
    for (const { prompt, promptTokens } of readPin(name).texts) {
      expect(await tokenizer!.encode(prompt)).toEqual(promptTokens)
      expect(await tokenizer!.decode(promptTokens)).toBe(prompt)
    }
  })
})
