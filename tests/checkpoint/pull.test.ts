import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { hubName, pulledDirectory } from '../../src/checkpoint/hub-cache.ts'
import { pullModel } from '../../src/checkpoint/pull.ts'
import { loadModel } from '../../src/load-model.ts'
import { FIXTURES } from '../helpers/golden.ts'

const COMMIT = 'c0ffee'.padEnd(40, '0')
const NAME = { repo: 'org/tiny', revision: 'main' }
const WEIGHTS = 'model.safetensors'

/** A hub that has one model, and what it does wrong. */
class FakeHub {
  /** Of each file how often its bytes were asked for, with which range. */
  readonly asked: { path: string; range: string | undefined; token: string | undefined }[] = []
  readonly files = new Map<string, Buffer>()
  /** Bytes after which an answer about the weights is cut off, in turn. */
  cuts: number[] = []
  /** Statuses that are answered first, in turn. */
  refusals: number[] = []
  /** What is sent in the place of a file. */
  swapped = new Map<string, Buffer>()
  /** What a file is listed as in the place of its hash. */
  hashes = new Map<string, string>()
  redirects = false
  private readonly server: Server = createServer((request, response) => this.answer(request, response))

  async start(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname: path } = new URL(request.url!, 'http://hub')
    const refusal = this.refusals.shift()
    if (refusal) {
      response.writeHead(refusal, refusal === 429 ? { 'retry-after': '0.01' } : {}).end()
      return
    }
    if (path === '/api/models/org/tiny/revision/main') {
      send(response, { _id: '1', id: 'org/tiny', sha: COMMIT })
      return
    }
    if (path === `/api/models/org/tiny/tree/${COMMIT}`) {
      send(response, this.listing())
      return
    }
    const [, elsewhere, file] = /^\/(org\/tiny|elsewhere)\/(?:resolve\/c0ffee0*\/)?(.+)$/.exec(path) ?? []
    const content = this.swapped.get(file) ?? this.files.get(file)
    if (!content) {
      response.writeHead(404).end()
      return
    }
    if (this.redirects && elsewhere !== 'elsewhere') {
      response.writeHead(302, { location: `/elsewhere/${file}` }).end()
      return
    }
    const { range, authorization: token } = request.headers
    this.asked.push({ path: file, range, token })
    const from = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)
    const rest = content.subarray(from)
    response.writeHead(range ? 206 : 200, { 'content-length': rest.length })
    const cut = file === WEIGHTS ? this.cuts.shift() : undefined
    if (cut === undefined) response.end(rest)
    else response.write(rest.subarray(0, cut), () => setTimeout(() => response.destroy(), 20))
  }

  private listing() {
    return [...this.files].map(([path, content]) => {
      const hash = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
      const oid = this.hashes.get(path) ?? hash
      const sha256 = createHash('sha256').update(content).digest('hex')
      const lfs = path.endsWith('.safetensors') && {
        lfs: { oid: sha256, size: content.length, pointerSize: 130 },
      }
      return { type: 'file', path, size: content.length, oid, ...lfs }
    })
  }
}

function send(response: ServerResponse, json: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json))
}

let hub: FakeHub
let cache: string
beforeEach(async () => {
  hub = new FakeHub()
  cache = mkdtempSync(join(tmpdir(), 'tinymoe-hub-'))
  for (const file of ['config.json', 'generation_config.json', WEIGHTS])
    hub.files.set(file, readFileSync(join(FIXTURES, 'llama', file)))
  hub.files.set('pytorch_model.bin', Buffer.from('another format'))
  vi.stubEnv('HF_ENDPOINT', await hub.start())
  vi.stubEnv('HF_HUB_CACHE', cache)
  vi.stubEnv('HF_TOKEN', '')
  vi.stubEnv('HF_TOKEN_PATH', join(cache, 'no-token'))
})
afterEach(() => {
  hub.stop()
  vi.unstubAllEnvs()
  rmSync(cache, { recursive: true, force: true })
})

const pull = () => pullModel(NAME, { patienceMs: 5 })

test('a model comes into the usual cache, only the files it needs, and its name then stands for it', async () => {
  const shares: number[] = []
  const dir = await pullModel(NAME, { onProgress: (done, total) => shares.push(done / total) })
  expect(dir).toBe(join(cache, 'models--org--tiny', 'snapshots', COMMIT))
  expect(readdirSync(dir).sort()).toEqual(['config.json', 'generation_config.json', WEIGHTS])
  expect(lstatSync(join(dir, WEIGHTS)).isSymbolicLink()).toBe(true)
  expect(readFileSync(join(cache, 'models--org--tiny/refs/main'), 'utf8')).toBe(COMMIT)
  expect(shares.at(-1)).toBe(1)
  expect(shares).toEqual([...shares].sort((a, b) => a - b))
  expect(pulledDirectory('org/tiny')).toBe(dir)
  expect(pulledDirectory(`org/tiny@${COMMIT}`)).toBe(dir)
  const model = await loadModel('org/tiny', { device: 'js' })
  expect(model.config.family).toBe('llama')
  model.dispose()
  const before = hub.asked.length
  await pull()
  expect(hub.asked).toHaveLength(before) // nothing twice
})

test('what was cut off goes on where it ended, within a pull and in a later one', async () => {
  hub.cuts = [1000, 500]
  await pull()
  const ranges = hub.asked.filter(({ path }) => path === WEIGHTS).map(({ range }) => range)
  expect(ranges).toEqual([undefined, 'bytes=1000-', 'bytes=1500-'])
  const blobs = join(cache, 'models--org--tiny/blobs')
  const [weights] = readdirSync(blobs).filter((name) => name.length === 64)
  const part = join(blobs, `${weights}.incomplete`)
  writeFileSync(part, readFileSync(join(blobs, weights)))
  truncateSync(part, 700)
  rmSync(join(blobs, weights))
  await pull()
  expect(hub.asked.at(-1)).toMatchObject({ path: WEIGHTS, range: 'bytes=700-' })
})

test('a connection that is always cut is an error, and what has come stays', async () => {
  hub.cuts = new Array(9).fill(10)
  await expect(pull()).rejects.toThrow(/^org\/tiny: cannot be pulled: /)
  expect(
    readdirSync(join(cache, 'models--org--tiny/blobs')).some((name) => name.endsWith('.incomplete')),
  ).toBe(true)
  expect(pulledDirectory('org/tiny')).toBeNull()
})

test.each([
  [
    'other bytes',
    (content: Buffer) => Buffer.from(content).fill(1, 50, 60),
    /came with sha256 [0-9a-f]{64}, expected/,
  ],
  [
    'too many',
    (content: Buffer) => Buffer.concat([content, Buffer.from('x')]),
    /came with size \d+, expected \d+/,
  ],
])('weights of %s are thrown away', async (_, change, message) => {
  hub.swapped.set(WEIGHTS, change(hub.files.get(WEIGHTS)!))
  await expect(pull()).rejects.toThrow(message)
  expect(existsSync(join(cache, 'models--org--tiny', 'snapshots', COMMIT, WEIGHTS))).toBe(false)
  hub.swapped.clear()
  await pull()
})

test.each([
  [401, 'the hub asks for a login (HTTP 401): set HF_TOKEN'],
  [403, 'the token may not read it (HTTP 403)'],
  [404, 'no such model, or no revision main (HTTP 404)'],
])('HTTP %i says what helps', async (status, sentence) => {
  hub.refusals = [status]
  await expect(pull()).rejects.toThrow(`org/tiny: cannot be pulled: ${sentence}`)
})

test('a busy server is waited for, and not for ever', async () => {
  hub.refusals = [429, 503, 429]
  await pull()
  rmSync(cache, { recursive: true })
  hub.refusals = new Array(30).fill(429)
  await expect(pull()).rejects.toThrow('too many requests (HTTP 429)')
})

test('redirects are followed, with the token of the usual place', async () => {
  hub.redirects = true
  writeFileSync(join(cache, 'token'), 'hf_secret\n')
  vi.stubEnv('HF_TOKEN_PATH', join(cache, 'token'))
  await pull()
  expect(hub.asked.every(({ token }) => token === 'Bearer hf_secret')).toBe(true)
})

test('a hub that would have files elsewhere is refused, and one that is none', async () => {
  hub.hashes.set('config.json', '../../../../escaped')
  await expect(pull()).rejects.toThrow('the hub names something "../../../../escaped", expected a hash')
  for (const endpoint of ['nonsense', 'file:///etc', 'ftp://hub']) {
    vi.stubEnv('HF_ENDPOINT', endpoint)
    await expect(pull()).rejects.toThrow(`HF_ENDPOINT: is "${endpoint}", expected the URL of a hub`)
  }
  expect(readdirSync(cache)).toEqual([])
})

test('a model in another form, and a server that is not there', async () => {
  hub.files.delete(WEIGHTS)
  await expect(pull()).rejects.toThrow('org/tiny: has no config.json with safetensors')
  hub.stop()
  await expect(pull()).rejects.toThrow('org/tiny: cannot be pulled: ')
  await expect(loadModel('org/tiny')).rejects.toThrow(
    'org/tiny: no such directory, expected a model with config.json and model.safetensors; one of that name on the hub comes with tinymoe pull org/tiny',
  )
})

test('names of the hub', () => {
  expect(hubName('org/name@v1.0')).toEqual({ repo: 'org/name', revision: 'v1.0' })
  expect(hubName('org/name')).toEqual({ repo: 'org/name', revision: 'main' })
  expect(hubName('org/name@refs/pr/1')).toEqual({ repo: 'org/name', revision: 'refs/pr/1' })
  for (const other of [
    'name',
    './org/name',
    '/org/name',
    'a/b/c',
    '../x',
    'org/name@',
    'org/name@../x',
    'org/name@a/../b',
  ])
    expect(hubName(other)).toBeNull()
})
