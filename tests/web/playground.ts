import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as tf from '@tensorflow/tfjs-core'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { register as registerTrace } from '../../src/cli/trace.ts'
import { documentLosses } from '../../src/eval/loss.ts'
import { loadModel } from '../../src/load-model.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import { tokenLosses } from '../../src/model/token-losses.ts'
import { mean } from '../../src/sums.ts'
import { parametersText } from '../../src/text/units.ts'
import { traceFromJson } from '../../src/trace/json.ts'
import { parametersUsed } from '../../src/trace/parameters.ts'
import { said } from '../cli/in-process.ts'
import { open, type Site, settled } from './site.ts'

const PROMPT = 'Once upon a time there was a clever boy named Tom. 7+8=15;'
const PLAY = `#play?${new URLSearchParams({ prompt: PROMPT })}`
const OTHER = 'Es war einmal ein neugieriger Junge namens Leo.'

/** A control of the page, and the flags of the command line that say the same. */
const CHANGES: {
  name: string
  act(page: Page): Promise<unknown>
  flags: string[]
  interventions: Interventions
}[] = [
  {
    name: 'k',
    act: (page) => page.getByLabel('Experts a token (k)').fill('1'),
    flags: ['--top-k', '1'],
    interventions: { topK: 1 },
  },
  {
    name: 'router temperature',
    act: (page) => page.getByLabel('Router temperature').fill('2'),
    flags: ['--router-temperature', '4'],
    interventions: { temperature: 4 },
  },
  {
    name: 'capacity, dropped',
    act: (page) => page.getByRole('slider', { name: 'Capacity factor' }).fill('1'),
    flags: ['--capacity', '0.5'],
    interventions: { capacity: { factor: 0.5, policy: 'drop' } },
  },
  {
    name: 'capacity, moved',
    async act(page) {
      await page.getByRole('slider', { name: 'Capacity factor' }).fill('1')
      await page.getByRole('button', { name: 'next-best' }).click()
    },
    flags: ['--capacity', '0.5', '--capacity-policy', 'next-best'],
    interventions: { capacity: { factor: 0.5, policy: 'next-best' } },
  },
  {
    name: 'an expert switched off',
    async act(page) {
      await page.getByRole('button', { name: /^Expert 1 of layer 3/ }).click()
      await page.getByRole('button', { name: 'Switch it off' }).click()
    },
    flags: ['--disable', '3:1'],
    interventions: { disable: [{ layer: 3, expert: 1 }] },
  },
  {
    name: 'chance',
    async act(page) {
      await page.getByRole('button', { name: 'chance' }).click()
      await page.getByLabel('Seed').fill('7')
    },
    flags: ['--route', 'random', '--seed', '7'],
    interventions: { replace: { by: 'random', seed: 7 } },
  },
]

/** A number of the comparison's table, as it was computed. */
async function quantity(page: Page, name: string, column: 'unchanged' | 'changed'): Promise<number> {
  const row = page.locator('.compare tr', { has: page.locator(`[data-quantity="${name}"]`) })
  const value = await row
    .locator('td')
    .nth(column === 'unchanged' ? 0 : 1)
    .getAttribute('data-value')
  return value ? Number(value) : Number.NaN
}

async function savedTrace(page: Page) {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Trace', exact: true }).click(),
  ])
  return traceFromJson(readFileSync(await download.path(), 'utf8')).trace
}

async function lossInNode(interventions: Interventions): Promise<number> {
  const model = await loadModel('tinymoe:moe')
  try {
    const tokens = await model.tokenizer!.encode(PROMPT)
    // The whole text in one call, as in the page: a capacity limit counts a call's tokens.
    const { logits } = model.forward([tokens], { interventions })
    const losses = tokenLosses(logits as tf.Tensor3D, Int32Array.from([...tokens.slice(1), 0]))
    return mean([...losses.subarray(0, tokens.length - 1)])
  } finally {
    model.dispose()
  }
}

async function tracedByCommand(flags: string[]) {
  const { stdout, error } = await said(
    registerTrace,
    'trace',
    'tinymoe:moe',
    '--prompt',
    PROMPT,
    '--json',
    ...flags,
  )
  expect(error).toBeNull()
  return traceFromJson(stdout).trace
}

async function sameAsCommand(page: Page, flags: string[], interventions: Interventions): Promise<void> {
  const [own, command] = [await savedTrace(page), await tracedByCommand(flags)]
  for (const [i, layer] of command.layers.entries()) {
    expect(own.layers[i].expertIndices).toEqual(layer.expertIndices)
    const away = layer.expertWeights.map((weight, at) => Math.abs(weight - own.layers[i].expertWeights[at]))
    expect(Math.max(...away)).toBeLessThan(1e-4)
  }
  const loss = await lossInNode(interventions)
  expect(await quantity(page, 'Loss of the text, nats a token', 'changed')).toBeCloseTo(loss, 3)
  expect(await quantity(page, 'Loss of the text, nats a token', 'unchanged')).not.toBeCloseTo(loss, 3)
}

/** The playground: what the command line says with the same changes, and what only a page can do. */
export function playgroundTests(site: () => Site): void {
  test.each(CHANGES)(
    '$name: routing and loss are those of the command line',
    async ({ act, flags, interventions }) => {
      const { visit, url } = site()
      const page = await visit()
      await open(page, url, PLAY)
      await settled(page)
      await act(page)
      await page.getByRole('heading', { name: 'Before and after' }).waitFor()
      await settled(page)
      await sameAsCommand(page, flags, interventions)
      // The address has the state: another visitor sees the same.
      const shared = await visit()
      await open(shared, await page.evaluate(() => location.href))
      await shared.getByRole('heading', { name: 'Before and after' }).waitFor()
      await settled(shared)
      const loss = 'Loss of the text, nats a token'
      expect(await quantity(shared, loss, 'changed')).toBe(await quantity(page, loss, 'changed'))
      await Promise.all([shared, page].map((each) => each.context().close()))
    },
  )

  test("another prompt's routing replayed: as the command line replays that prompt's trace", async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, PLAY)
    await settled(page)
    await page.getByRole('button', { name: 'another text' }).click()
    await page.getByLabel('Route as this text was routed').fill(OTHER)
    await page.getByRole('heading', { name: 'Before and after' }).waitFor()
    await settled(page)
    const folder = mkdtempSync(join(tmpdir(), 'tinymoe-replay-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'other.json')
    const { stdout } = await said(
      registerTrace,
      'trace',
      'tinymoe:moe',
      '--prompt',
      OTHER,
      '--max-tokens',
      '40',
      '--json',
    )
    writeFileSync(file, stdout)
    await sameAsCommand(page, ['--replay', file], {
      topK: 2,
      replace: { by: 'trace', trace: traceFromJson(stdout).trace },
    })
    await page.context().close()
  })

  test('cost: parameters that ran follow the routing, with the difference to the unchanged model', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, `${PLAY}&k=1`)
    await page.getByRole('heading', { name: 'Before and after' }).waitFor()
    await settled(page)
    const model = await loadModel('tinymoe:moe')
    const used = parametersUsed(model.config, await savedTrace(page))
    model.dispose()
    expect(await quantity(page, 'Parameters that ran', 'changed')).toBe(used.active[0])
    expect(await page.locator('.compare').innerText()).toContain(parametersText(used.active[0]))
    for (const name of ['Arithmetic a token', 'Memory read a token', 'Time of a forward']) {
      expect(await quantity(page, name, 'unchanged')).toBeGreaterThan(0)
      expect(await quantity(page, name, 'changed')).toBeGreaterThan(0)
    }
    await page.context().close()
  })

  test('play, pause, step and back write the tokens that generate writes', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#play?prompt=Once+upon+a+time')
    await settled(page)
    await page.getByRole('button', { name: 'Step', exact: true }).click()
    await expect.poll(() => page.locator('.written .new').count()).toBe(1)
    await page.getByLabel('Speed').fill('20')
    await page.getByRole('button', { name: 'Play' }).click()
    await expect.poll(() => page.locator('.written .new').count()).toBeGreaterThan(5)
    await page.getByRole('button', { name: 'Pause' }).click()
    await settled(page)
    const count = await page.locator('.written .new').count()
    const model = await loadModel('tinymoe:moe')
    const { text } = await model.generate({ prompt: 'Once upon a time', maxTokens: count, temperature: 0 })
      .done
    model.dispose()
    expect((await page.locator('.written .new').allInnerTexts()).join('')).toBe(text)
    await page.getByRole('button', { name: 'Back', exact: true }).click()
    await expect.poll(() => page.locator('.written .new').count()).toBe(count - 1)
    await page.context().close()
  })

  test('a token that is asked for shows as busy at once, and after Pause none is begun', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#play?prompt=Once+upon+a+time')
    await settled(page)
    await page.getByLabel('Speed').fill('20')
    const seen = await page.evaluate(async () => {
      const press = (name: string) =>
        [...document.querySelectorAll<HTMLElement>('.transport button')]
          .find(({ textContent }) => textContent === name)!
          .click()
      const isBusy = () => document.querySelector('.play-grid[aria-busy=true]') !== null
      const written = () => document.querySelectorAll('.written .new').length
      const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
      press('Step')
      await null // drawn, and no frame shown yet
      const atOnce = isBusy()
      press('Play')
      while (written() < 3 || isBusy()) await pass(1)
      const late = performance.now() + 100
      while (performance.now() < late); // the next token is due when Pause comes
      press('Pause')
      const before = written()
      await pass(200)
      return { atOnce, begun: isBusy() || written() > before }
    })
    expect(seen).toEqual({ atOnce: true, begun: false })
    await page.context().close()
  })

  test('a breakpoint stops where a layer sends a token to an expert', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, '#play?prompt=Once+upon+a+time')
    await settled(page)
    await page.getByText('Stop when').click()
    await page.getByRole('checkbox', { name: 'layer' }).check()
    await page.getByLabel('Layer of the breakpoint').selectOption('3')
    await page.getByLabel('Expert of the breakpoint').selectOption('1')
    await page.getByLabel('Speed').fill('20')
    await page.getByRole('button', { name: 'Play' }).click()
    await page.getByText(/Layer 3 sent token \d+ to expert 1/).waitFor({ timeout: 120_000 })
    await page.getByRole('button', { name: 'Play' }).waitFor()
    await settled(page)
    const trace = await savedTrace(page)
    expect([...trace.layers[3].expertIndices.slice(-2)]).toContain(1)
    await page.context().close()
  })

  test('three models side by side, each with its own loss', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, PLAY)
    await settled(page)
    await page.getByRole('button', { name: 'Compare the models' }).click()
    const table = page.getByRole('region', { name: 'Models side by side' })
    await table.waitFor({ timeout: 120_000 })
    const names = ['moe', 'dense-active', 'deepseek']
    expect(await table.locator('thead th').allInnerTexts()).toEqual(['quantity', ...names])
    const shown = await table.locator('tr', { hasText: 'loss' }).locator('td').allInnerTexts()
    for (const [i, name] of names.entries()) {
      const model = await loadModel(`tinymoe:${name}`)
      const tokens = await model.tokenizer!.encode(PROMPT)
      const [nats] = await documentLosses(model, [{ tokens }])
      model.dispose()
      expect(Number(shown[i])).toBeCloseTo(nats / (tokens.length - 1), 3)
    }
    await page.context().close()
  })

  test('a fact: the model knows it, and forgets it without the expert that it hangs on', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, PLAY)
    await settled(page)
    const examples = page.getByLabel('Example')
    const prompt = await examples.locator('option', { hasText: 'a fact' }).getAttribute('value')
    await examples.selectOption(prompt)
    const hint = page.locator('p', { hasText: 'It hangs on expert' })
    await hint.waitFor({ timeout: 120_000 })
    await settled(page)
    const said = await hint.innerText()
    const [, value, expert, layer] = /“(.+)” comes next. It hangs on expert (\d+) of layer (\d+)/.exec(said)!
    const chances = async () =>
      Promise.all(
        ['.next-tokens tr', '.next-tokens tr'].map((rows, i) =>
          page.locator(rows, { hasText: value }).locator('td').nth(i).locator('.number').innerText(),
        ),
      )
    const likely = page.locator('.next-tokens tbody tr').first()
    expect(await likely.locator('th').innerText()).toContain(value)
    await page.getByRole('button', { name: 'Forget it' }).click()
    await page.getByRole('heading', { name: 'Before and after' }).waitFor()
    await settled(page)
    const [before, after] = (await chances()).map((share) => Number.parseFloat(share))
    expect(before).toBeGreaterThan(50)
    expect(after).toBeLessThan(50)
    const { searchParams } = new URL((await page.evaluate(() => location.hash)).slice(1), 'http://page')
    expect(searchParams.get('off')).toBe(`${layer}:${expert}`)
    expect(searchParams.get('model')).toBe('moe-facts')
    await page.context().close()
  })

  test('the picture is saved as SVG and as PNG', async () => {
    const { visit, url } = site()
    const page = await visit()
    await open(page, url, PLAY)
    await settled(page)
    const saved = async (name: string) => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name, exact: true }).click(),
      ])
      return readFileSync(await download.path())
    }
    expect((await saved('SVG')).toString()).toMatch(/^<svg class="routing"/)
    const png = await saved('PNG')
    expect(png.subarray(1, 4).toString()).toBe('PNG')
    expect(png.length).toBeGreaterThan(5000)
    await page.context().close()
  })
}
