import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { copyOfMixtral, MIXTRAL, PATIENT, tinymoe } from './run-cli.ts'

describe.concurrent('errors are one sentence on stderr, exit 1, nothing on stdout', PATIENT, () => {
  test('no such directory', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('logits', '/no/such/model', '--tokens', '1', '--json')
    expect(stderr).toBe(
      'error: /no/such/model: no such directory, expected a model with config.json and model.safetensors\n',
    )
    expect([code, stdout]).toEqual([1, ''])
  })

  test('a wrong field of config.json', async (context) => {
    const { expect } = context
    const dir = copyOfMixtral(context)
    const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'))
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, num_experts_per_tok: 'two' }))
    const { code, stdout, stderr } = await tinymoe('generate', dir, '--tokens', '1', '--json')
    expect(stderr).toMatch(/^error: .+config\.json.+num_experts_per_tok.+\n$/)
    expect([code, stdout]).toEqual([1, ''])
  })

  test('a truncated file of weights', async (context) => {
    const { expect } = context
    const dir = copyOfMixtral(context)
    truncateSync(join(dir, 'model.safetensors'), 20_000)
    const { code, stdout, stderr } = await tinymoe('generate', dir, '--tokens', '1')
    expect(stderr).toMatch(/^error: .+model\.safetensors.+\d.+\n$/)
    expect([code, stdout]).toEqual([1, ''])
  })

  test('a token outside the vocabulary; --debug adds where', async ({ expect }) => {
    const message = 'tokens: sequence 0 has 160 at position 1, expected an integer from 0 to 159'
    const { code, stdout, stderr } = await tinymoe(
      '--debug',
      '--device',
      'js',
      'logits',
      MIXTRAL,
      '--tokens',
      '1,160',
    )
    expect(stderr).toContain(`InputError: ${message}\n    at `)
    expect([code, stdout]).toEqual([1, ''])
  })

  test('a text without a tokenizer', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('generate', MIXTRAL, '--prompt', 'Hello', '--device', 'js')
    expect(stderr).toBe(
      'error: prompt: the model has no tokenizer.json to read text with, give token ids (tokens) instead\n',
    )
    expect([code, stdout]).toEqual([1, ''])
  })
})
