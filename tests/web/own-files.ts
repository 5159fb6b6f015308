import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

  test("one's own checkpoint runs in the page", async () => {
    const { visit, url } = site()
    const { folder } = folderOf('deepseek', 'my-model')
    const page = await visit()
    await open(page, url, '#play')
    await page.getByLabel('Checkpoint folder').setInputFiles(folder)
    const { total } = countParameters(readConfig(folder).config)
    await page.getByText(`my-model: ${parametersText(total)} parameters, running here`).waitFor()
    await expect.poll(() => page.getByLabel('Model', { exact: true }).inputValue()).toBe('dropped:my-model')
    await expect.poll(() => page.locator('.heat thead th').count()).toBe(1 + 3)
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
    const dropped = await page.evaluateHandle((json) => {
      const transfer = new DataTransfer()
      transfer.items.add(new File([json], 'saved.json'))
      return transfer
    }, stdout)
    await page.dispatchEvent('body', 'drop', { dataTransfer: dropped })
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
