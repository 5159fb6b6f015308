import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Context, createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type * as Browser from '../src/browser.ts'
import { readPageAssets } from '../src/trace/page/read.ts'
import { FIXTURES, maxDifference, readGolden } from './helpers/golden.ts'
import { modelDir, readPin } from './shipped/pins.ts'

const ENTRY = JSON.stringify(join(import.meta.dirname, '../src/browser.ts'))

/** One script of modules for a browser. */
async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: import.meta.dirname },
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'tinymoe',
    write: false,
    logLevel: 'silent',
  })
  return outputFiles[0].text
}

/** A place to run scripts with the globals of a page's worker that the engine may use, and none of Node's. */
function worker(): Context {
  const { fetch, performance, TextDecoder, TextEncoder, MessageChannel, Blob, AbortSignal, console } =
    globalThis
  const web = { fetch, performance, TextDecoder, TextEncoder, MessageChannel, Blob, AbortSignal, console }
  const context = createContext({ ...web, WorkerGlobalScope: class {}, navigator: { userAgent: 'a test' } })
  return Object.assign(context, { self: context })
}

/** Directories that the server has, by the first part of a path. */
const SERVED: Record<string, string> = {
  moe: modelDir('moe'),
  sharded: join(FIXTURES, 'mixtral/sharded'),
}

let server: Server
let url: string
let engine: typeof Browser & { numTensors(): number }

beforeAll(async () => {
  server = createServer((request, response) => {
    const [, root, ...path] = request.url!.split('/')
    const file = join(SERVED[root] ?? '/nowhere', ...path)
    if (root === 'secret') response.writeHead(403).end()
    else if (!existsSync(file)) response.writeHead(404).end()
    else {
      response.writeHead(200, { 'content-length': statSync(file).size })
      createReadStream(file).pipe(response)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const script = await bundle(`
    import * as tf from '@tensorflow/tfjs-core'
    import '@tensorflow/tfjs-backend-cpu'
    export * from ${ENTRY}
    export const numTensors = () => tf.memory().numTensors`)
  engine = runInContext(`${script}; tinymoe`, worker())
})
afterAll(() => new Promise((resolve) => server.close(resolve)))

test('the entry needs no module of Node, and one that did would be refused', async () => {
  await expect(bundle(`export * from ${ENTRY}`)).resolves.toContain('MoeModel')
  await expect(bundle("export { readFileSync } from 'node:fs'")).rejects.toThrow('node:fs')
})

test('nor does any file of these folders but those that read and write disks', async () => {
  const src = join(import.meta.dirname, '../src')
  const ofNode = [
    ...['disk.ts', 'export.ts', 'hub-cache.ts', 'pull.ts', 'quantize.ts', 'save.ts', 'write.ts'].map((name) =>
      join(src, 'checkpoint', name),
    ),
    ...['load.ts', 'reference.ts'].map((name) => join(src, 'tokenizer', name)),
    join(src, 'trace/page/read.ts'),
  ]
  const files = ['model', 'families', 'checkpoint', 'generate', 'trace', 'tokenizer'].flatMap((folder) =>
    readdirSync(join(src, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(src, folder, name))
      .filter((file) => file.endsWith('.ts') && !ofNode.includes(file)),
  )
  await bundle(files.map((file) => `import ${JSON.stringify(file)}`).join('\n'))
})

test('models/moe from a web server writes the pinned tokens', async () => {
  const { prompt, promptTokens, tokens, text } = readPin('moe').texts[0]
  const shares: number[] = []
  const { size } = statSync(join(modelDir('moe'), 'model.safetensors'))
  const files = await engine.fetchFiles(`${url}/moe`, {
    onProgress: (received, total) => shares.push(received / total!),
  })
  expect(files.open('model.safetensors').size).toBe(size)
  expect(shares.at(-1)).toBe(1)
  const model = engine.readModel(files)
  const during = engine.numTensors()
  const tokenizer = engine.readTokenizer(files)!
  expect(await tokenizer.encode(prompt, { addSpecialTokens: false })).toEqual(promptTokens.slice(1))
  const result = engine.generate(model, tokenizer, {
    tokens: promptTokens,
    maxTokens: tokens.length,
    trace: true,
  })
  const streamed: number[] = []
  for await (const { token } of result) streamed.push(token)
  const { traces, ...written } = await result.done
  expect(written.text.trim()).toBe(text.trim())
  expect(streamed).toEqual(tokens)
  expect(engine.numTensors()).toBe(during)
  const trace = engine.joinTraces(traces)
  expect(trace.rows.length).toBe(promptTokens.length + tokens.length - 1)
  expect(engine.traceFromJson(engine.traceToJson(trace)).trace).toEqual(trace)
  const assets = readPageAssets()
  const decisions = new engine.Decisions(model, trace)
  const decisionAt = (layer: number, t: number) => decisions.at(layer, t)
  const page = engine.tracePage(trace, { texts: null, name: 'moe', changes: null, assets, decisionAt })
  expect(page).toContain(assets.script)
  model.dispose()
  expect(engine.numTensors()).toBe(0)
})

test('generation_config.json of files in memory: its ids end a text, its values are defaults', async () => {
  const files = await engine.fetchFiles(`${url}/moe`)
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
  const own = { eos_token_id: [2, 16], max_new_tokens: 30, repetition_penalty: 1 }
  const inMemory = new Map(names.map((name) => [name, files.bytes(name)]))
  inMemory.set('generation_config.json', new TextEncoder().encode(JSON.stringify(own)))
  const model = engine.readModel(engine.filesInMemory('dropped', inMemory))
  const tokenizer = engine.readTokenizer(engine.filesInMemory('dropped', inMemory))!
  const { tokens, finishReason } = await engine.generate(model, tokenizer, { prompt: 'Once upon a time' })
    .done
  expect([tokens.length, tokens.at(-1), finishReason]).toEqual([11, 16, 'eos'])
  model.dispose()
})

test('shards from a web server give the golden logits', async () => {
  const model = engine.readModel(await engine.fetchFiles(`${url}/sharded`))
  const [{ input_ids, last_logits }] = readGolden('mixtral/golden.json').prompts
  const { logits } = model.forward(input_ids, { logits: 'last' })
  expect(maxDifference(logits.dataSync(), last_logits)).toBeLessThan(2e-4)
  logits.dispose()
  model.dispose()
})

test.each([
  ['secret', 'CheckpointError', /secret\/.*: cannot be fetched: HTTP 403$/],
  ['nowhere', 'ConfigError', /nowhere\/config\.json: not found, expected the model's config$/],
])('a directory %s is one sentence', async (root, name, message) => {
  const read = async () => engine.readModel(await engine.fetchFiles(`${url}/${root}`))
  await expect(read()).rejects.toMatchObject({ name, message: expect.stringMatching(message) })
})

test('files in memory without weights, and cut off, are one sentence each', async () => {
  const { bytes } = await engine.fetchFiles(`${url}/moe`)
  const config = new Map([['config.json', bytes('config.json')]])
  const read = (files: Map<string, Uint8Array>) => engine.readModel(engine.filesInMemory('dropped', files))
  expect(() => read(config)).toThrow('dropped: no weights found; expected model.safetensors, or')
  const cut = bytes('model.safetensors').subarray(0, 100_000)
  expect(() => read(new Map([...config, ['model.safetensors', cut]]))).toThrow('(truncated?)')
  expect(() => read(new Map([['config.json', cut]]))).toThrow('dropped/config.json: not JSON')
})
