import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { outcomeOf, REPOSITORY } from '../cli/run-cli.ts'

/** How a text goes on, greedily. */
interface Text {
  prompt: string
  promptTokens: number[]
  tokens: number[]
}

/** The last line of check_models.py, check_vllm.py and check_llama_cpp.py: what the other engine wrote. */
interface Stored {
  library: string
  versions: Record<string, string>
  rows: { model: string; processes: number; texts: Text[] }[]
}

/** A few times what it takes where all processors have other work. */
const PATIENCE_MS = 600_000

const stored = ['transformers', 'vllm', 'llama-cpp'].map(
  (name): Stored => JSON.parse(readFileSync(join(REPOSITORY, `bench/results/peers-${name}.json`), 'utf8')),
)
const bundled = readdirSync(join(REPOSITORY, 'models')).filter((name) =>
  existsSync(join(REPOSITORY, 'models', name, 'config.json')),
)

async function ourTexts(model: string, prompts: string[], maxTokens: number): Promise<Text[]> {
  const args = ['--import', 'tsx', 'bench/peers/greedy.ts', `models/${model}`, '--max-tokens', `${maxTokens}`]
  const env = { ...process.env, TINYMOE_DEVICE: 'cpu' }
  const child = spawn(process.execPath, args, { cwd: REPOSITORY, env, stdio: 'pipe' })
  const { stdout, stderr, code } = await outcomeOf(child, JSON.stringify(prompts))
  expect(code, stderr).toBe(0)
  return JSON.parse(stdout)
}

describe.each(bundled)('models/%s', (name) => {
  const rows = stored.flatMap(({ library, rows }) =>
    rows.filter(({ model }) => model === name).map((row) => ({ library, ...row })),
  )
  let ours: Text[]
  beforeAll(async () => {
    const [{ texts }] = rows
    ours = await ourTexts(
      name,
      texts.map(({ prompt }) => prompt),
      texts[0].tokens.length,
    )
  }, PATIENCE_MS)

  test.each(rows)('is read by $library ($processes) as it is here', ({ texts }) => {
    expect(texts.length).toBeGreaterThanOrEqual(6)
    for (const { tokens } of texts) expect(tokens).toHaveLength(24)
    expect(ours).toEqual(texts)
  })

  test('was read by all', () => {
    expect(new Set(rows.map(({ library }) => library))).toEqual(
      new Set(['transformers', 'vllm', 'llama.cpp']),
    )
  })
})

test('it is known which versions wrote', () => {
  expect(stored.map(({ versions }) => Object.keys(versions)[0])).toEqual([
    'transformers',
    'vllm',
    'llama-cpp-python',
  ])
  for (const { versions } of stored) expect(Object.values(versions)[0]).toMatch(/^\d+\.\d+/)
})
