import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { benchOptions } from '../../src/cli/bench.ts'
import { register as registerEval } from '../../src/cli/eval.ts'
import { register as registerGenerate } from '../../src/cli/generate.ts'
import { register as registerInspect } from '../../src/cli/inspect.ts'
import { register as registerLogits } from '../../src/cli/logits.ts'
import { register as registerTrace } from '../../src/cli/trace.ts'
import { modelNamed } from '../../src/cost/named.ts'
import { InputError } from '../../src/errors.ts'
import { loadModel, readConfig } from '../../src/load-model.ts'
import { bundledModels, modelDirectory, packageRoot } from '../../src/package.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { said } from '../cli/in-process.ts'
import { MIXTRAL, REPOSITORY } from '../cli/run-cli.ts'

const MOE = join(REPOSITORY, 'models', 'moe')
const THERE_ARE =
  'there are deepseek, dense-active, dense-active-facts, dense-total, dense-total-facts, moe, moe-facts, random-mixtral'

// A folder without models, so that a bare name can only be a bundled one.
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tinymoe-names-'))
  process.chdir(folder)
})
afterAll(() => {
  process.chdir(REPOSITORY)
  rmSync(folder, { recursive: true })
})

test('every directory under models/ that has a config is bundled, and has a card', () => {
  expect(packageRoot()).toBe(resolve(REPOSITORY))
  for (const name of bundledModels()) {
    expect(readdirSync(join(REPOSITORY, 'models', name))).toContain('README.md')
  }
  expect(`there are ${bundledModels().join(', ')}`).toBe(THERE_ARE)
})

describe('a name', () => {
  test.each(['tinymoe:moe', 'moe'])('%s is the bundled model', (name) => {
    expect(modelDirectory(name)).toBe(MOE)
  })

  test.each(['./moe', '/no/such', 'models/moe', '..'])('%s is a path', (path) => {
    expect(modelDirectory(path)).toBe(path)
  })

  test('what lies in the current folder wins, unless tinymoe: says otherwise', () => {
    mkdirSync(join(folder, 'deepseek'))
    expect(modelDirectory('deepseek')).toBe('deepseek')
    expect(modelDirectory('tinymoe:deepseek')).toBe(join(REPOSITORY, 'models', 'deepseek'))
    rmSync(join(folder, 'deepseek'), { recursive: true })
  })

  test.each([
    ['mo', `mo: no such directory, and no bundled model of that name; ${THERE_ARE}`],
    ['tinymoe:mo', `tinymoe:mo: no bundled model of that name; ${THERE_ARE}`],
    ['tinymoe:', `tinymoe:: no bundled model of that name; ${THERE_ARE}`],
    ['tinymoe:../moe', `tinymoe:../moe: no bundled model of that name; ${THERE_ARE}`],
    ['', 'model: is "", expected a directory, or a bundled model such as tinymoe:moe'],
    [7, 'model: is 7, expected a directory, or a bundled model such as tinymoe:moe'],
  ])('%s is one sentence', async (name, sentence) => {
    for (const use of [loadModel, loadTokenizer, async (n: string) => readConfig(n)]) {
      await expect(use(name as string)).rejects.toThrow(new InputError(sentence))
    }
  })
})

test('loadModel, readConfig, loadTokenizer and modelNamed take it', async () => {
  const model = await loadModel('tinymoe:moe', { device: 'cpu' })
  expect(model.dir).toBe(MOE)
  model.dispose()
  expect(readConfig('moe').config.layers).toHaveLength(4)
  expect(await (await loadTokenizer('tinymoe:moe'))?.encode('Once')).toEqual([1, 49, 80, 313])
  expect(modelNamed('moe').shape).toEqual(modelNamed(MOE).shape)
  expect(modelNamed('deepseek').published).toBeNull()
  expect(() => modelNamed('tinymoe:mo')).toThrow(THERE_ARE)
})

/** The commands that take a model, and the least that they need to run. */
const COMMANDS = {
  generate: [registerGenerate, '--tokens', '1,5', '--max-tokens', '2', '--json'],
  logits: [registerLogits, '--tokens', '1,5', '--json'],
  trace: [registerTrace, '--tokens', '1,5', '--json'],
  inspect: [registerInspect, '--json'],
  eval: [registerEval, '--samples', '1', '--domains', 'dates', '--json'],
} as const

describe.each(Object.entries(COMMANDS))('tinymoe %s', (name, [register, ...flags]) => {
  test.each(['moe', 'tinymoe:moe'])('%s', async (model) => {
    const { stdout, error } = await said(register, '--device', 'cpu', name, model, ...flags)
    expect(error).toBeNull()
    expect(Object.keys(JSON.parse(stdout)).length).toBeGreaterThan(1)
  })

  test('a directory of that name wins', async () => {
    cpSync(MIXTRAL, join(folder, 'moe'), { recursive: true })
    const { stdout } = await said(register, '--device', 'cpu', name, 'moe', ...flags)
    rmSync(join(folder, 'moe'), { recursive: true })
    const bundled = await said(register, '--device', 'cpu', name, 'tinymoe:moe', ...flags)
    expect(stdout).not.toBe(bundled.stdout)
  })

  test('an unknown name lists the bundled ones, or is no published model either', async () => {
    const { stdout, error } = await said(register, '--device', 'cpu', name, 'mo-e', ...flags)
    expect([stdout, error?.exitCode]).toEqual(['', 1])
    expect(error?.message).toMatch(
      /^mo-e: no such directory.*no bundled (model of that name; there are deepseek|or published model)/,
    )
  })
})

test('bench --model takes one, and has moe where none is named', () => {
  const flags = { preset: 'quick' } as const
  expect(benchOptions(flags).model).toBe(MOE)
  expect(benchOptions({ ...flags, model: 'deepseek' }).model).toBe('deepseek') // loadModel resolves it
})
