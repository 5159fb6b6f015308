import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, test } from 'vitest'
import { maxDifference, readGolden } from '../helpers/golden.ts'
import { COMMAND, MIXTRAL, mixtralWithText, PATIENT, REPOSITORY, tinymoe } from './run-cli.ts'

const golden = readGolden('mixtral/golden.json')
const [short, medium] = golden.prompts
const V = short.last_logits.length

interface Json {
  logits: number[][][]
  layers: {
    layer: number
    routerLogits: number[][]
    expertIndices: number[][]
    expertWeights: number[][]
    tokensPerExpert: number[]
  }[]
}

describe.concurrent('tinymoe logits', PATIENT, () => {
  test('--json --trace: a padded batch, without its padding, as the reference', async ({ expect }) => {
    const tokens = [short, medium].flatMap(({ input_ids }) => ['--tokens', input_ids.join(',')])
    const { code, stdout, stderr } = await tinymoe('logits', MIXTRAL, ...tokens, '--trace', '--json')
    expect([code, stderr]).toEqual([0, ''])
    const { logits, layers, ...more }: Json = JSON.parse(stdout)
    expect(more).toEqual({})
    expect(logits.map((rows) => rows.length)).toEqual([short.input_ids.length, medium.input_ids.length])
    expect(maxDifference(logits[0].flat(), short.logits!.flat())).toBeLessThan(2e-4)
    expect(maxDifference(logits[1].at(-1)!, medium.last_logits)).toBeLessThan(2e-4)
    expect(layers.map(({ layer }) => layer)).toEqual(golden.moe_layers)
    layers.forEach(({ routerLogits, expertIndices, expertWeights, tokensPerExpert, ...more }, i) => {
      expect(Object.keys(more)).toEqual(['layer'])
      const expected = [short, medium].map(({ routing }) => routing[i])
      expect(maxDifference(routerLogits.flat(), expected.flatMap((r) => r.logits).flat())).toBeLessThan(1e-4)
      const experts = expected.flatMap((r) => r.experts)
      const weights = expected.flatMap((r) => r.weights)
      const counts: number[] = new Array(tokensPerExpert.length).fill(0)
      experts.forEach((chosen, t) => {
        // the golden file has them by id, we by preference
        const own = new Map(expertIndices[t].map((expert, k) => [expert, expertWeights[t][k]]))
        expect([...own.keys()].sort((a, b) => a - b)).toEqual(chosen)
        expect(
          maxDifference(
            chosen.map((e) => own.get(e)!),
            weights[t],
          ),
        ).toBeLessThan(2e-5)
        for (const expert of chosen) counts[expert]++
      })
      expect(tokensPerExpert).toEqual(counts)
    })
  })

  test.for(['generate', 'logits', 'trace'])('%s takes --threads', async (command, { expect }) => {
    const out = command === 'trace' ? ['--json'] : []
    const { code, stderr } = await tinymoe(command, MIXTRAL, '--tokens', '1,2,3', '--threads', '1', ...out)
    expect([code, stderr.includes('error')]).toEqual([0, false])
  })

  test('--json without --trace has no layers; more than a pipe holds comes whole', async ({ expect }) => {
    const tokens = Array.from({ length: 250 }, (_, i) => i % V).join(',')
    const { code, stdout } = await tinymoe(
      '--json',
      'logits',
      MIXTRAL,
      '--tokens',
      tokens,
      '--dispatch',
      'dense',
    )
    expect(code).toBe(0)
    expect(stdout.length).toBeGreaterThan(1 << 18)
    const { logits, layers }: Json = JSON.parse(stdout)
    expect(logits[0].map((row) => row.length)).toEqual(new Array(250).fill(V))
    expect(layers).toEqual([])
  })

  test('a reader that has enough ends it quietly', async ({ expect }) => {
    const tokens = Array.from({ length: 250 }, (_, i) => i % V).join(',')
    const command = `set -o pipefail; "$@" | head -c 20`
    const args = [...COMMAND, 'logits', MIXTRAL, '--json', '--tokens', tokens]
    // execFile rejects for an exit code other than 0
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', command, '-', ...args], {
      cwd: REPOSITORY,
    })
    expect([stdout.length, stderr]).toEqual([20, ''])
  })

  test('for people: best next tokens and a table of expert choices', async (context) => {
    const { expect } = context
    const { code, stdout, stderr } = await tinymoe(
      'logits',
      mixtralWithText(context),
      '--tokens',
      short.input_ids.join(','),
      '--trace',
    )
    expect([code, stderr]).toEqual([0, ''])
    const lines = stdout.split('\n')
    expect(lines[0]).toBe('sequence 0, 7 tokens: most likely next tokens')
    expect(lines[1]).toBe('token   logit  text')
    expect(lines[2]).toMatch(new RegExp(`^ +${golden.generation[0].tokens[0]}  +\\d+\\.\\d{4}  "`))
    expect(lines.slice(7, 10)).toEqual([
      '',
      'experts chosen (weight)',
      'layer  sequence  position  token  experts',
    ])
    expect(
      lines.filter((line) => /^ +\d {2,}0 {2,}\d {2,}\d+ {2}\d \(0\.\d{3}\) {2}\d \(0\.\d{3}\)$/.test(line))
        .length,
    ).toBe(3 * 7)
    expect(lines.slice(-6)[0]).toBe('tokens per expert')
  })
})
