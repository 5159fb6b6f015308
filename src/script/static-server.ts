import { createReadStream, type Stats, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { extname, join, normalize, sep } from 'node:path'
import { pipeline } from 'node:stream'
import { createGzip } from 'node:zlib'
import { InputError, messageOf } from '../errors.ts'

/** Where paths below an address lie: the longest prefix counts. Text is served as it is. */
export type Served = Readonly<Record<string, { folder: string } | { text: string }>>

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
}

/** A server of static files on this machine alone. @throws InputError where the port cannot be had */
export async function serve(served: Served, port: number): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => answer(request, response, served))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE'
      const why = inUse
        ? 'is in use, give another one or 0 for any that is free'
        : `cannot be had (${messageOf(error)})`
      reject(new InputError(`--port ${port}: ${why}`))
    })
    server.listen(port, '127.0.0.1', resolve)
  })
  const address = server.address()
  const bound = typeof address === 'object' && address ? address.port : port
  return { server, url: `http://localhost:${bound}/` }
}

function answer(request: IncomingMessage, response: ServerResponse, served: Served): void {
  const end = (status: number, text: string) =>
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
  if (request.method !== 'GET' && request.method !== 'HEAD') return void end(405, 'only GET and HEAD')
  const path = pathOf(request.url ?? '/')
  if (path === null) return void end(400, 'not a path')
  const found = fileOf(path, served)
  if (!found) return void end(404, `${path}: not found`)
  const headers = {
    'cache-control': 'no-cache',
    'content-type': TYPES[extname(found.name)] ?? 'application/octet-stream',
  }
  if ('text' in found) return void response.writeHead(200, headers).end(found.text)
  sendFile(request, response, found, headers)
}

/** The path of a request, decoded; null where it is none, or leads out of its folder. */
function pathOf(url: string): string | null {
  try {
    const path = decodeURIComponent(new URL(url, 'http://localhost').pathname)
    return path.includes('\0') ? null : path.endsWith('/') ? `${path}index.html` : path
  } catch {
    return null
  }
}

type Found = { name: string; text: string } | { name: string; file: string; stats: Stats }

function fileOf(path: string, served: Served): Found | null {
  const prefix = Object.keys(served)
    .filter((start) => path === start || (start.endsWith('/') && path.startsWith(start)))
    .sort((a, b) => b.length - a.length)[0]
  if (prefix === undefined) return null
  const at = served[prefix]
  if ('text' in at) return { name: path, text: at.text }
  const file = join(at.folder, normalize(path.slice(prefix.length)))
  if (!file.startsWith(at.folder + sep)) return null
  const stats = statSync(file, { throwIfNoEntry: false })
  return stats?.isFile() ? { name: path, file, stats } : null
}

/** Compressed where that helps and is understood; weights are sent as they are, so that their size is known. */
function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  { name, file, stats }: Extract<Found, { file: string }>,
  headers: Record<string, string>,
): void {
  const etag = `"${stats.size.toString(36)}-${stats.mtimeMs.toString(36)}"`
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304, { etag }).end()
  const zipped = extname(name) in TYPES && /\bgzip\b/.test(String(request.headers['accept-encoding']))
  const size = zipped ? { 'content-encoding': 'gzip' } : { 'content-length': String(stats.size) }
  response.writeHead(200, { ...headers, etag, ...size })
  if (request.method === 'HEAD') return void response.end()
  const done = () => {} // a reader that left early is no fault
  if (zipped) pipeline(createReadStream(file), createGzip(), response, done)
  else pipeline(createReadStream(file), response, done)
}
