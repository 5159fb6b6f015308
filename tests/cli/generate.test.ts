import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { readGolden } from '../helpers/golden.ts'
import { MIXTRAL, mixtralWithText, outcomeOf, PATIENT, REPOSITORY, startCli, tinymoe } from './run-cli.ts'

const golden = readGolden('mixtral/golden.json')
const prompt = golden.prompts[0].input_ids.join(',')

describe.concurrent('tinymoe generate', PATIENT, () => {
  test("--json: the reference's 24 greedy tokens", async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe(
      'generate',
      MIXTRAL,
      '--tokens',
      prompt,
      '--max-tokens',
      '24',
      '--temperature',
      '0',
      '--json',
    )
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toEqual({
      tokens: golden.generation[0].tokens,
      text: null,
      promptTokens: 7,
      finishReason: 'length',
      device: expect.stringMatching(/^(cuda|cpu|wasm|js)$/),
      dtype: 'float32',
      settings: {
        temperature: { value: 0, source: 'option' },
        topK: { value: 0, source: 'default' },
        topP: { value: 1, source: 'default' },
        minP: { value: 0, source: 'default' },
        repetitionPenalty: { value: 1, source: 'default' },
        maxTokens: { value: 24, source: 'option' },
        stop: { value: [], source: 'default' },
      },
      timings: {
        prefillMs: expect.any(Number),
        decodeMs: expect.any(Number),
        graphsMs: expect.any(Number),
        tokensPerSecond: expect.any(Number),
      },
    })
  })

  test.for<[place: string, args: string[]]>([
    ['before', ['--device', 'js', 'generate', MIXTRAL, '--tokens', '1,5', '--max-tokens', '2', '--json']],
    ['after', ['generate', MIXTRAL, '--tokens', '1,5', '--max-tokens', '2', '--device', 'js', '--json']],
  ])('--device %s the command', async ([, args], { expect }) => {
    const { stdout } = await tinymoe(...args)
    expect(JSON.parse(stdout)).toMatchObject({ device: 'js', finishReason: 'length' })
  })

  test('without a tokenizer prints ids, and a line about the run on stderr', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe(
      'generate',
      MIXTRAL,
      '--tokens',
      prompt,
      '--max-tokens',
      '24',
    )
    expect([code, stdout]).toEqual([0, `${golden.generation[0].tokens.join(',')}\n`])
    expect(stderr).toMatch(
      /^\[24 tokens, \d+\.\d tokens\/s \(length\); prompt of 7 tokens in \d+ ms(, \d+ ms in all for making graphs)?; (cuda|cpu|wasm|js): .+\]\n$/,
    )
  })

  test('prints text, reads a prompt from stdin, and a seed repeats it', async (context) => {
    const { expect } = context
    const dir = mixtralWithText(context)
    const options = ['--max-tokens', '30', '--temperature', '1.5', '--top-p', '0.9', '--seed', '7']
    const [piped, given] = await Promise.all([
      outcomeOf(startCli('generate', dir, '--prompt', '-', ...options), 'Q7\n'),
      tinymoe('generate', dir, '--prompt', 'Q7', ...options, '--json'),
    ])
    expect([piped.code, given.code]).toEqual([0, 0])
    const { text, promptTokens } = JSON.parse(given.stdout)
    expect(promptTokens).toBe(2)
    expect(piped.stdout).toBe(`${text}\n`)
  })

  test('generation_config.json gives defaults, which are shown; flags win', async (context) => {
    const { expect } = context
    const dir = mixtralWithText(context)
    const own = { do_sample: true, temperature: 1.5, max_new_tokens: 5, num_beams: 4, eos_token_id: [] }
    writeFileSync(join(dir, 'generation_config.json'), JSON.stringify(own))
    const args = ['generate', dir, '--tokens', prompt]
    const [drawn, given, greedy] = await Promise.all([
      tinymoe(...args),
      tinymoe(
        'generate',
        MIXTRAL,
        '--tokens',
        prompt,
        '--temperature',
        '1.5',
        '--top-k',
        '50',
        '--max-tokens',
        '5',
        '--json',
      ),
      tinymoe(...args, '--temperature', '0', '--max-tokens', '3', '--json'),
    ])
    const [beams, summary, settings] = drawn.stderr.trimEnd().split('\n')
    expect(beams).toBe('generation_config.json: not followed here: num_beams 4')
    expect(summary).toMatch(/^\[5 tokens/)
    expect(settings).toBe('[generation_config.json: --temperature 1.5 --top-k 50 --max-tokens 5]')
    const asGiven = await tinymoe(...args, '--json')
    expect(JSON.parse(asGiven.stdout).tokens).toEqual(JSON.parse(given.stdout).tokens)
    const { tokens, settings: sources } = JSON.parse(greedy.stdout)
    expect(tokens).toEqual(golden.generation[0].tokens.slice(0, 3))
    expect(sources).toMatchObject({
      temperature: { value: 0, source: 'option' },
      topK: { value: 50, source: 'generation_config.json' },
    })
  })

  test('--stop takes the text of a special token', async ({ expect, onTestFinished }) => {
    const dir = mkdtempSync(join(tmpdir(), 'tinymoe-cli-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    for (const name of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']) {
      symlinkSync(join(REPOSITORY, 'models/moe', name), join(dir, name))
    }
    writeFileSync(join(dir, 'generation_config.json'), '{"eos_token_id": 1023}') // </s> no longer ends a text by itself
    const args = ['generate', dir, '--prompt', 'close: ( { ( [ ->', '--stop', '</s>', '--json']
    const { tokens, text, finishReason } = JSON.parse((await tinymoe(...args)).stdout)
    expect([tokens, finishReason]).toEqual([[461, 460, 337, 460, 2], 'stop'])
    expect(text).not.toContain('</s>')
  })

  test('Ctrl-C prints what there is and exits 130', async ({ expect }) => {
    const child = startCli('generate', MIXTRAL, '--tokens', prompt, '--max-tokens', '240', '--device', 'js')
    child.stdout!.once('data', () => child.kill('SIGINT'))
    const { code, stdout, stderr } = await outcomeOf(child)
    expect(code).toBe(130)
    const tokens = stdout.trimEnd().split(',').map(Number)
    expect(tokens.length).toBeLessThan(240)
    const expected = golden.generation[0].tokens
    expect(tokens.slice(0, expected.length)).toEqual(expected.slice(0, tokens.length))
    expect(stderr).toContain(`[${tokens.length} token`)
    expect(stderr).toContain('(aborted)')
    expect(stderr).toContain('interrupted by SIGINT: the text ends here; another one ends at once\n')
  })
})
