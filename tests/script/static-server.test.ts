import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serve } from '../../src/script/static-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'tinymoe-server-'))
let served: Awaited<ReturnType<typeof serve>>

beforeAll(async () => {
  for (const part of ['page/assets', 'models/own']) mkdirSync(join(folder, part), { recursive: true })
  writeFileSync(join(folder, 'secret'), 'not served')
  writeFileSync(join(folder, 'page/index.html'), '<!doctype html><title>page</title>')
  writeFileSync(join(folder, 'page/assets/a b.js'), 'export const a = 1\n'.repeat(100))
  writeFileSync(join(folder, 'models/own/model.safetensors'), Buffer.alloc(5000, 7))
  served = await serve(
    {
      '/': { folder: join(folder, 'page') },
      '/models/index.json': { text: '[]' },
      '/models/own/': { folder: join(folder, 'models/own') },
    },
    0,
  )
})
afterAll(() => {
  served.server.close()
  rmSync(folder, { recursive: true })
})

/** A path as it stands: `fetch` would tidy it up. */
function raw(path: string, method = 'GET'): Promise<number | undefined> {
  const { port } = new URL(served.url)
  return new Promise((resolve, reject) => {
    request({ port, path, method }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end()
  })
}

test('files with their types, compressed where that helps, whole where their size is wanted', async () => {
  const page = await fetch(served.url)
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(await page.text()).toContain('<title>page</title>')
  const script = await fetch(`${served.url}assets/a%20b.js`)
  expect(script.headers.get('content-encoding')).toBe('gzip')
  expect((await script.text()).length).toBe(1900)
  const weights = await fetch(`${served.url}models/own/model.safetensors`)
  expect(weights.headers.get('content-length')).toBe('5000')
  expect(await (await fetch(`${served.url}models/index.json`)).json()).toEqual([])
})

test('what has not changed is not sent again', async () => {
  const url = `${served.url}models/own/model.safetensors`
  const etag = (await fetch(url)).headers.get('etag')!
  const { status } = await fetch(url, { headers: { 'if-none-match': etag } })
  expect(status).toBe(304)
})

test.each([
  ['/nothing', 404],
  ['/models/own/nothing', 404],
  ['/../secret', 404],
  ['/assets/..%2f..%2fsecret', 404],
  ['/models/own/..%2f..%2fsecret', 404],
  ['/%00', 400],
  ['/%zz', 400],
])('%s is answered with %i', async (path, status) => {
  expect(await raw(path)).toBe(status)
})

test('only reading is offered', async () => {
  expect(await raw('/', 'POST')).toBe(405)
  expect(await raw('/', 'HEAD')).toBe(200)
})

test('a port that is taken is one sentence', async () => {
  const port = Number(new URL(served.url).port)
  await expect(serve({}, port)).rejects.toThrow(
    `--port ${port}: is in use, give another one or 0 for any that is free`,
  )
})
