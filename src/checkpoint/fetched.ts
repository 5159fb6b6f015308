import { CheckpointError, messageOf } from '../errors.ts'
import { INDEX_FILE, readWeightMap, SINGLE_FILE, shardNames } from './shards.ts'
import { filesInMemory, type ModelFiles } from './source.ts'

/** What a model's directory may hold beside its weights. */
const SMALL_FILES = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']

export interface FetchOptions {
  /** Called with the bytes of weights that have come, and how many there will be; null where the server does not say. */
  onProgress?: (received: number, total: number | null) => void
  signal?: AbortSignal
}

/**
 * A model's directory from a web server, all of it in memory: servers of static files need not know ranges. What is not there
 * (404) is left out, as it is in a directory on disk.
 * @throws CheckpointError for a file that cannot be fetched
 */
export async function fetchFiles(url: string, options: FetchOptions = {}): Promise<ModelFiles> {
  const files = new Map<string, Uint8Array>()
  const get = async (name: string, onBytes?: (received: number, total: number | null) => void) => {
    const bytes = await fetchFile(`${url}/${name}`, options.signal, onBytes)
    if (bytes) files.set(name, bytes)
    return bytes
  }
  await Promise.all(SMALL_FILES.map((name) => get(name)))
  if (await get(SINGLE_FILE, options.onProgress)) return filesInMemory(url, files)
  const index = await get(INDEX_FILE)
  let before = 0
  for (const shard of index ? shardNames(readWeightMap(`${url}/${INDEX_FILE}`, index)) : []) {
    const bytes = await get(shard, (received) => options.onProgress?.(before + received, null))
    before += bytes?.length ?? 0
  }
  return filesInMemory(url, files)
}

/** The bytes of a file, or null where there is none. */
async function fetchFile(
  url: string,
  signal: AbortSignal | undefined,
  onBytes: (received: number, total: number | null) => void = () => {},
): Promise<Uint8Array | null> {
  try {
    const response = await fetch(url, { signal })
    if (response.status === 404) return null
    if (!response.ok) throw new Error(`HTTP ${response.status}`)
    // The length of a compressed answer is not that of the file.
    const length = response.headers.has('content-encoding') ? null : response.headers.get('content-length')
    const chunks: Uint8Array<ArrayBuffer>[] = []
    let received = 0
    const reader = response.body!.getReader()
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      chunks.push(part.value)
      received += part.value.length
      onBytes(received, length === null ? null : Number(length))
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer())
  } catch (error) {
    if (signal?.aborted) throw error
    throw new CheckpointError(`${url}: cannot be fetched: ${messageOf(error)}`, { cause: error })
  }
}
