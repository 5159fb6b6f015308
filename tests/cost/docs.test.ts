import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { register as registerCost } from '../../src/cli/cost.ts'
import { register as registerInspect } from '../../src/cli/inspect.ts'
import { publishedModels } from '../../src/cost/find-published.ts'
import { totalFlops } from '../../src/cost/flops.ts'
import { publishedShape } from '../../src/cost/published.ts'
import { nominalTrainingFlops, trainingFlops } from '../../src/cost/training.ts'
import { FAMILIES } from '../../src/families/index.ts'
import { said } from '../cli/in-process.ts'
import { REPOSITORY } from '../cli/run-cli.ts'

const PAGE = readFileSync(join(REPOSITORY, 'docs/cost.md'), 'utf8')

/** Indented blocks that begin with `$ tinymoe`: the command line and the output shown for it. */
const EXAMPLES = [...PAGE.matchAll(/^ {4}\$ tinymoe (.*)\n((?: {4}.*\n|\n(?= {4}))*)/gm)].map(
  ([, command, output]) => [command, output.replace(/^ {4}/gm, '').trimEnd()],
)

describe('docs/cost.md', () => {
  test('has an example of each command', () => {
    expect(EXAMPLES.map(([command]) => command)).toEqual([
      'inspect deepseek-moe-16b',
      'inspect --list',
      'cost',
    ])
  })

  test.each(EXAMPLES)('shows what `tinymoe %s` prints', async (command, output) => {
    const register = command.startsWith('cost') ? registerCost : registerInspect
    const { stdout, error } = await said(register, ...command.split(' '))
    expect(error).toBeNull()
    expect(stdout.trimEnd()).toBe(output)
  })

  test('names every model_type that can be counted', () => {
    for (const type of FAMILIES.map(({ modelType }) => modelType)) {
      expect(PAGE).toContain(`\`${type}\``)
    }
  })

  test('its table of training FLOPs is what is computed', () => {
    const teras = (value: number) => (value / 1e12).toFixed(2)
    const percent = (share: number) => `${share < 0 ? '' : '+'}${(100 * share).toFixed(1)}%`
    for (const model of publishedModels()) {
      if (!model.trainingFlops) continue
      const { perTokens, flops } = model.trainingFlops
      const shape = publishedShape(model)
      const [nominal, real] = [
        nominalTrainingFlops(shape, perTokens),
        totalFlops(trainingFlops(shape, perTokens, 'full')),
      ].map((value) => `${teras(value)}T (${percent(value / flops - 1)})`)
      expect(PAGE).toContain(`| ${flops / 1e12}T | ${nominal} | ${real} |`)
    }
  })
})
