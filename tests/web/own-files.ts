import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { register as registerLogits } from '../../src/cli/logits.ts'
import { register as registerTrace } from '../../src/cli/trace.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { readConfig } from '../../src/load-model.ts'
import { modelDirectory } from '../../src/package.ts'
import { parametersText } from '../../src/text/units.ts'
import { said } from '../cli/in-process.ts'
import { REPOSITORY } from '../cli/run-cli.ts'
import { open, type Site, settled } from './site.ts'

/** Directories that no engine can run, by what is wrong with them. */
const BROKEN: Record<string, (folder: string) => void> = {
  'weights cut off': (folder) => {
    const file = join(folder, 'model.safetensors')
    writeFileSync(file, readFileSync(file).subarray(0, 100_000))
  },
  'a config that is not JSON': (folder) => writeFileSync(join(folder, 'config.json'), '{"hidden_size":'),
  'another number of experts': (folder) => {
    const file = join(folder, 'config.json')
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace('"num_local_experts": 8', '"num_local_experts": 9'),
    )
  },
  'no weights': (folder) => rmSync(join(folder, 'model.safetensors')),
}

function folderOf(model: string, name: string): { parent: string; folder: string } {
  const parent = mkdtempSync(join(tmpdir(), 'tinymoe-own-'))
  onTestFinished(() => rmSync(parent, { recursive: true }))
  const folder = join(parent, name)
  mkdirSync(folder)
  cpSync(modelDirectory(`tinymoe:${model}`), folder, { recursive: true })
  return { parent, folder }
}

/** Drops files and folders of the disk on the page, as a browser does when a person lets go of them. */
async function drop(page: Page, files: string[]): Promise<void> {
  const client = await page.context().newCDPSession(page)
  const data = { items: [], files, dragOperationsMask: 1 }
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await client.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data })
  }
}

/** Models and traces that the reader has. */
export function ownFilesTests(site: () => Site): void {
  test.each(Object.keys(BROKEN))(
    'a checkpoint with %s gets the sentence of the command line',
    async (what) => {
      const { visit, url } = site()
      const { parent, folder } = folderOf('moe', 'broken')
      BROKEN[what](folder)
      process.chdir(parent)
      onTestFinished(() => process.chdir(REPOSITORY))
      const { error } = await said(registerLogits, 'logits', 'broken', '--tokens', '1')
      const page = await visit()
      await open(page, url, '#play')
      await page.getByLabel('Checkpoint folder').setInputFiles(folder)
      const alert = page.locator('.own [role=alert]')
      await alert.waitFor()
      expect(await alert.innerText()).toBe(error?.message)
      await page.context().close()
    },
  )

  test("one's own checkpoint runs in the page: picked, its folder dropped, its files dropped", async () => {
    const { visit, url } = site()
    const { folder } = folderOf('deepseek', 'my-model')
    const { total } = countParameters(readConfig(folder).config)
    const page = await visit()
    await open(page, url, '#play')
    await settled(page)
    const files = ['config.json', 'model.safetensors', 'tokenizer.json'].map((file) => join(folder, file))
    const ways = {
      'my-model': () => page.getByLabel('Checkpoint folder').setInputFiles(folder),
      'my-model (2)': () => drop(page, [folder]),
      'dropped files': () => drop(page, files),
    }
    for (const [name, give] of Object.entries(ways)) {
      await give()
      await page.locator('.status', { hasText: `${name}: ${parametersText(total)}` }).waitFor()
      await expect.poll(() => page.getByLabel('Model', { exact: true }).inputValue()).toBe(`dropped:${name}`)
      await settled(page)
      expect(await page.locator('.heat thead th').count()).toBe(1 + 3)
    }
    await page.context().close()
  })

  test('files that are no checkpoint are told so when they are dropped', async () => {
    const { visit, url } = site()
    const { folder } = folderOf('moe', 'unused')
    const page = await visit()
    await open(page, url, '#play')
    await settled(page)
    const alert = page.locator('.own [role=alert]')
    await drop(page, [join(folder, 'model.safetensors')])
    await alert.filter({ hasText: 'dropped files/config.json' }).waitFor()
    await drop(page, [join(folder, 'config.json')])
    await alert.filter({ hasText: 'config.json: format: ' }).waitFor()
    await page.context().close()
  })

  test('a trace of the command line is replayed, token by token', async () => {
    const { visit, url } = site()
    const { parent } = folderOf('moe', 'unused')
    const file = join(parent, 'saved.json')
    const { stdout } = await said(
      registerTrace,
      'trace',
      'tinymoe:moe',
      '--prompt',
      '7+8=',
      '--max-tokens',
      '3',
      '--top-k',
      '1',
      '--json',
    )
    writeFileSync(file, stdout)
    const page = await visit()
    await open(page, url, '#play')
    await drop(page, [file])
    await page.getByText('7 tokens, 4 layers').waitFor()
    await page.getByRole('button', { name: 'Replay' }).click()
    await expect.poll(() => page.locator('#token-heading + p').innerText()).toContain('Token 6')
    await settled(page)
    expect(await page.locator('.token-panel').innerText()).toContain(
      'The steps come to what the run recorded.',
    )
    const broken = JSON.parse(stdout)
    broken.layers[0].topK = 99
    writeFileSync(file, JSON.stringify(broken))
    await page.getByLabel('Trace file').setInputFiles(file)
    await page.locator('.own [role=alert]', { hasText: 'saved.json: ' }).waitFor()
    await page.context().close()
  })
}
