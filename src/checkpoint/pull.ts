import { createHash } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { CheckpointError, InputError, messageOf } from '../errors.ts'
import { makeFolder, writeAtomically } from '../files.ts'
import { shown } from '../text/foreign.ts'
import { type HubName, hubLibrary, repoFolder } from './hub-cache.ts'
import { SINGLE_FILE } from './shards.ts'

/** Told the bytes that are there, of all that are needed, and the file at work. */
export type PullProgress = (done: number, total: number, file: string) => void

export interface PullOptions {
  onProgress?: PullProgress
  signal?: AbortSignal
  /** Milliseconds before the first repetition; each next waits twice as long. */
  patienceMs?: number
}

/** A file of a model on the hub. `hash`: sha256 of a large one, else git's. */
interface RemoteFile {
  path: string
  size: number
  hash: string
  large: boolean
}

const TRIES = 5
/** Longer than this no server is waited for. */
const MAX_WAIT_MS = 60_000
/** What a model needs beside its weights. */
const SMALL =
  /^((generation_|preprocessor_)?config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|chat_template)\.(json|jinja)$|^model\.safetensors\.index\.json$/
const SHARD = /^model-\d+-of-\d+\.safetensors$/

/**
 * Brings a model into the hub's usual cache: only the files that it needs, each checked by size and hash; what a former, cut
 * off pull has brought is not fetched again. Returns its directory.
 * @throws CheckpointError, one sentence, for a server that refuses, a file that is not what it should be, or a full disk
 */
export async function pullModel({ repo, revision }: HubName, options: PullOptions = {}): Promise<string> {
  const hub = {
    hubUrl: endpoint(),
    ...tokenOf(),
    fetch: patient(options),
  }
  const named = { name: repo, type: 'model' as const }
  const { commit, files } = await asked(repo, revision, async () => {
    const { modelInfo, listFiles } = hubLibrary()
    const { sha } = await modelInfo({ ...hub, name: repo, revision, additionalFields: ['sha'] })
    const listed: RemoteFile[] = []
    for await (const { type, path, size, oid = '', lfs } of listFiles({
      ...hub,
      repo: named,
      revision: sha,
    })) {
      if (type === 'file') listed.push({ path, size, hash: lfs?.oid ?? oid, large: lfs !== undefined })
    }
    return { commit: sha, files: needed(listed) }
  })
  for (const name of [commit, ...files.map(({ hash }) => hash)]) {
    // They become names of files.
    if (!/^[0-9a-f]{40,64}$/.test(name))
      throw new CheckpointError(`${repo}: the hub names something ${shown(name)}, expected a hash`)
  }
  if (
    !files.some(({ path }) => path === 'config.json') ||
    !files.some(({ path }) => path.endsWith('.safetensors'))
  ) {
    throw new CheckpointError(`${repo}: has no config.json with safetensors, expected a model in that form`)
  }
  const folder = repoFolder(repo)
  const snapshot = join(folder, 'snapshots', commit)
  checkDisk(folder, files)
  const total = files.reduce((sum, { size }) => sum + size, 0)
  let before = 0
  for (const file of files) {
    const onBytes = (bytes: number) => options.onProgress?.(before + bytes, total, file.path)
    await asked(repo, revision, () =>
      fetchBlob(folder, file, `${hub.hubUrl}/${repo}/resolve/${commit}/${file.path}`, hub, onBytes, options),
    )
    link(folder, snapshot, file)
    before += file.size
  }
  const ref = join(folder, 'refs', revision)
  makeFolder(dirname(ref))
  if (revision !== commit) writeAtomically(ref, commit)
  return snapshot
}

/** One file of weights, or all shards; formats of other programs stay where they are. */
function needed(files: RemoteFile[]): RemoteFile[] {
  const single = files.some(({ path }) => path === SINGLE_FILE)
  return files.filter(({ path }) => SMALL.test(path) || (single ? path === SINGLE_FILE : SHARD.test(path)))
}

/** Where the hub is, without a slash at the end. */
function endpoint(): string {
  const { HF_ENDPOINT: given } = process.env
  if (!given) return hubLibrary().HUB_URL
  if (!URL.canParse(given) || !/^https?:$/.test(new URL(given).protocol))
    throw new InputError(
      `HF_ENDPOINT: is ${shown(given)}, expected the URL of a hub, such as https://huggingface.co`,
    )
  return given.replace(/\/+$/, '')
}

/** From the usual places: the environment, or what a login has stored. */
function tokenOf(): { accessToken?: string } {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  const file = HF_TOKEN_PATH ?? join(home, 'token')
  const stored = existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
  const accessToken = HF_TOKEN || HUGGING_FACE_HUB_TOKEN || stored
  return accessToken ? { accessToken } : {}
}

function checkDisk(folder: string, files: RemoteFile[]): void {
  makeFolder(join(folder, 'blobs'))
  const missing = files.reduce((sum, { hash, size }) => {
    const blob = join(folder, 'blobs', hash)
    const there = existsSync(blob)
      ? size
      : (statSync(`${blob}.incomplete`, { throwIfNoEntry: false })?.size ?? 0)
    return sum + size - Math.min(size, there)
  }, 0)
  const { bavail, bsize } = statfsSync(folder)
  if (missing <= bavail * bsize) return
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2)
  throw new CheckpointError(
    `${folder}: ${gigabytes(missing)} GB are to come, and the disk has ${gigabytes(bavail * bsize)} GB left`,
  )
}

/** A whole file under its hash, where it was cut off before from there on. */
async function fetchBlob(
  folder: string,
  { path, size, hash, large }: RemoteFile,
  url: string,
  { accessToken, fetch }: { accessToken?: string; fetch: typeof globalThis.fetch },
  onBytes: (bytes: number) => void,
  { patienceMs = 1000, signal }: PullOptions,
): Promise<void> {
  const blob = join(folder, 'blobs', hash)
  if (existsSync(blob)) return onBytes(size)
  const part = `${blob}.incomplete`
  for (let tried = 1; ; tried++) {
    const there = statSync(part, { throwIfNoEntry: false })?.size ?? 0
    if (there >= size) break
    try {
      const headers = {
        ...(accessToken && { Authorization: `Bearer ${accessToken}` }),
        ...(there > 0 && { Range: `bytes=${there}-` }),
      }
      const response = await fetch(url, { headers, signal })
      if (!response.ok) throw new HttpError(response.status, url)
      const goesOn = response.status === 206
      let received = goesOn ? there : 0
      const body = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream)
      body.on('data', (chunk: Uint8Array) => {
        received += chunk.length
        onBytes(received)
      })
      await pipeline(body, createWriteStream(part, { flags: goesOn ? 'a' : 'w' }), { signal })
      if (received < size) throw new Error(`ended after ${received} of ${size} bytes`)
    } catch (error) {
      if (signal?.aborted || error instanceof HttpError || tried === TRIES) throw error
      await wait(patienceMs * 2 ** (tried - 1), undefined, { signal })
    }
  }
  const found = { size: statSync(part).size, hash: await hashOf(part, large ? null : size) }
  if (found.size !== size || found.hash !== hash) {
    rmSync(part) // what is wrong would be gone on with
    const [what, is, expected] =
      found.size !== size ? ['size', found.size, size] : [large ? 'sha256' : 'git hash', found.hash, hash]
    throw new CheckpointError(`${path}: came with ${what} ${is}, expected ${expected}; it was thrown away`)
  }
  renameSync(part, blob)
}

/** sha256; of a file of known size git's hash, which small files are listed with. */
async function hashOf(file: string, size: number | null): Promise<string> {
  const hash = createHash(size === null ? 'sha256' : 'sha1')
  if (size !== null) hash.update(`blob ${size}\0`)
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** As other programs lay out the cache: a relative link from the snapshot to the blob. */
function link(folder: string, snapshot: string, { path, hash }: RemoteFile): void {
  const at = join(snapshot, path)
  makeFolder(dirname(at))
  rmSync(at, { force: true })
  symlinkSync(relative(dirname(at), join(folder, 'blobs', hash)), at)
}

class HttpError extends Error {
  constructor(
    readonly statusCode: number,
    readonly url: string,
  ) {
    super(`HTTP ${statusCode}`)
  }
}

/** `fetch` that waits for a server which asks for it (429, 503), and repeats. */
function patient({ patienceMs = 1000, signal }: PullOptions): typeof globalThis.fetch {
  return async (input, init) => {
    for (let tried = 1; ; tried++) {
      const response = await globalThis.fetch(input, { signal, ...init })
      const busy = response.status === 429 || response.status === 503
      if (!busy || tried === TRIES) return response
      await response.body?.cancel()
      const asked = Number(response.headers.get('retry-after')) * 1000
      const pause = asked > 0 ? asked : patienceMs * 2 ** (tried - 1)
      await wait(Math.min(pause, MAX_WAIT_MS), undefined, { signal })
    }
  }
}

/** Runs `work`; what a server refuses becomes one sentence that says what helps. */
async function asked<T>(repo: string, revision: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CheckpointError || (error as Error).name === 'AbortError') throw error
    const { statusCode } = error as { statusCode?: number }
    const reasons: Record<number, string> = {
      401: `the hub asks for a login (HTTP 401): set HF_TOKEN to a token that may read it, if the model exists`,
      403: 'the token may not read it (HTTP 403): ask for access on its page',
      404: `no such model, or no revision ${revision} (HTTP 404)`,
      429: 'the hub has had too many requests (HTTP 429): try again later, or with HF_TOKEN',
    }
    const cause = (error as { cause?: unknown }).cause
    const why = reasons[statusCode ?? 0] ?? messageOf(cause ?? error)
    throw new CheckpointError(`${repo}: cannot be pulled: ${why}`, { cause: error })
  }
}
