import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { z } from 'zod'
import type { Host } from '../device/host.ts'
import { messageOf, SetupError } from '../errors.ts'
import { fulfils, type WheelRequest } from './requests.ts'
import { normalizeProject } from './wheel.ts'

/** The public index, in the JSON form of PEP 691. Only what is used of it. */
const INDEX = 'https://pypi.org/simple'
const ProjectPage = z.object({
  files: z.array(
    z.object({
      filename: z.string(),
      url: z.string(),
      hashes: z.object({ sha256: z.string().optional() }),
      size: z.number().optional(),
      yanked: z.union([z.boolean(), z.string()]).optional(),
    }),
  ),
})
type IndexFile = z.infer<typeof ProjectPage>['files'][number]

/** A dropped connection is taken up again this often before it is an error. */
const ATTEMPTS = 4

/** Downloads a wheel straight from the index: continued after an interruption, kept only when its sha256 is right. */
export async function downloadFromIndex(
  host: Host,
  request: WheelRequest,
  folder: string,
  onBytes: (done: number, total: number | null) => void,
): Promise<string> {
  const file = await findFile(host, request)
  const target = join(folder, basename(file.filename))
  const part = `${target}.part`
  for (let attempt = 1; ; attempt++) {
    try {
      await continueDownload(host, file, part, onBytes)
      break
    } catch (error) {
      if (attempt === ATTEMPTS || error instanceof SetupError) throw error
    }
  }
  const actual = await sha256Of(part)
  if (actual !== file.hashes.sha256) {
    await rm(part)
    throw new SetupError(
      `${file.url}: has sha256 ${actual}, the index says ${file.hashes.sha256}; run setup again`,
    )
  }
  await rename(part, target)
  return target
}

async function findFile(host: Host, request: WheelRequest): Promise<IndexFile> {
  const { project, version, platforms } = request
  const url = `${INDEX}/${project}/`
  const response = await host.fetch(url, { headers: { accept: 'application/vnd.pypi.simple.v1+json' } })
  if (!response.ok) throw new SetupError(`${url}: answered ${response.status} ${response.statusText}`.trim())
  const page = ProjectPage.safeParse(await response.json().catch(() => null))
  if (!page.success) throw new SetupError(`${url}: is no project page in PEP 691's JSON form`)
  const found = page.data.files.find((file) => {
    const wheel = parseWheelName(file.filename)
    return wheel && fulfils(wheel, request) && /^(py3|cp311)$/.test(wheel.python) && !file.yanked
  })
  if (!found?.hashes.sha256)
    throw new SetupError(`${url}: has no wheel of ${version} for ${platforms.join(', ')}`)
  return found
}

/** The parts of `name-version(-build)-python-abi-platform.whl`, or null. */
export function parseWheelName(filename: string) {
  const match = /^([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-[^-]+-([^-]+)\.whl$/.exec(filename)
  if (!match) return null
  return {
    project: normalizeProject(match[1]),
    version: match[2],
    python: match[3],
    platforms: match[4].split('.'),
  }
}

async function continueDownload(
  host: Host,
  file: IndexFile,
  part: string,
  onBytes: (done: number, total: number | null) => void,
): Promise<void> {
  const have = (await stat(part).catch(() => null))?.size ?? 0
  if (have > 0 && have === file.size) return
  const response = await host.fetch(file.url, { headers: have > 0 ? { range: `bytes=${have}-` } : {} })
  if (!response.ok || !response.body) {
    throw new SetupError(`${file.url}: answered ${response.status} ${response.statusText}`.trim())
  }
  // A server that does not know ranges sends everything again, with 200.
  const continued = response.status === 206
  const output = await open(part, continued ? 'a' : 'w')
  let done = continued ? have : 0
  try {
    for await (const chunk of response.body) {
      await output.write(chunk)
      done += chunk.length
      onBytes(done, file.size ?? null)
    }
  } finally {
    await output.close()
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

/** fetch's own message is "fetch failed"; what happened is in its cause. */
export function networkCause(error: unknown): string {
  const cause = (error as Error)?.cause
  return error instanceof SetupError || !cause
    ? messageOf(error)
    : `${messageOf(error)} (${messageOf(cause)})`
}
