import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '../device/host.ts'
import { SetupError } from '../errors.ts'
import { makeFolder } from '../files.ts'
import { downloadFromIndex, networkCause, parseWheelName } from './index-client.ts'
import { fulfils, type WheelRequest } from './requests.ts'

export interface Progress {
  step: string
  /** Bytes, where they are counted. */
  done?: number
  total?: number | null
}

export type OnProgress = (progress: Progress) => void

/** How often a download by pip, which shows no progress to programs, is looked at. */
const LOOK_EVERY_MS = 500

/**
 * Brings a wheel into `folder` and returns its path. First through the person's own pip, where mirrors, proxies and
 * certificates are configured; without Python, or when pip fails, straight from the index.
 */
export async function obtainWheel(
  host: Host,
  request: WheelRequest,
  folder: string,
  onProgress: OnProgress,
): Promise<string> {
  makeFolder(folder)
  const already = await findWheel(request, folder)
  if (already) return already

  const { project, version } = request
  const python = await findPython(host)
  const pipProblem = python ? await downloadWithPip(host, python, request, folder, onProgress) : null
  const downloaded = await findWheel(request, folder)
  if (downloaded) return downloaded

  const step = `downloading ${project} ${version} from pypi.org`
  onProgress({ step })
  try {
    return await downloadFromIndex(host, request, folder, (done, total) => onProgress({ step, done, total }))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw error
    const pip = pipProblem ? `pip: ${pipProblem}; pypi.org: ` : ''
    throw new SetupError(`cannot download ${project} ${version}: ${pip}${networkCause(error)}`, {
      cause: error,
    })
  }
}

/** A finished wheel of an earlier, interrupted setup: both ways of downloading name it so only when it is whole. */
async function findWheel(request: WheelRequest, folder: string): Promise<string | null> {
  const found = (await readdir(folder)).find((name) => {
    const wheel = parseWheelName(name)
    return wheel !== null && fulfils(wheel, request)
  })
  return found ? join(folder, found) : null
}

async function findPython(host: Host): Promise<string | null> {
  for (const python of ['python3', 'python']) {
    const { code } = await host.run(python, ['-m', 'pip', '--version'])
    if (code === 0) return python
  }
  return null
}

/** Null when it worked, else what pip said. */
async function downloadWithPip(
  host: Host,
  python: string,
  { project, version, platforms }: WheelRequest,
  folder: string,
  onProgress: OnProgress,
): Promise<string | null> {
  const step = `downloading ${project} ${version} with pip`
  const temporary = join(folder, 'pip')
  makeFolder(temporary) // beside its target, since /tmp may be too small for it
  onProgress({ step })
  const looking = setInterval(
    async () => onProgress({ step, done: await bytesBelow(temporary) }),
    LOOK_EVERY_MS,
  )
  const args = [
    ...['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--retries', '1'],
    ...['--progress-bar', 'off', '--disable-pip-version-check'],
    ...['--python-version', '3.11', '--implementation', 'cp'],
    ...platforms.flatMap((platform) => ['--platform', platform]),
    ...['--dest', folder, `${project}==${version}`],
  ]
  try {
    const { code, stderr } = await host.run(python, args, { env: { ...host.env, TMPDIR: temporary } })
    return code === 0 ? null : lastError(stderr)
  } finally {
    clearInterval(looking)
    await rm(temporary, { recursive: true, force: true })
  }
}

function lastError(stderr: string): string {
  const lines = stderr.trim().split('\n')
  const error = lines.findLast((line) => line.startsWith('ERROR:')) ?? lines.at(-1) ?? ''
  return error.replace(/^ERROR:\s*/, '') || 'it failed without a message'
}

/** Bytes of the files below a folder that another program is writing, which may come and go meanwhile. */
export async function bytesBelow(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  const entries = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => null)))
  return entries.reduce((sum, entry) => sum + (entry?.isFile() ? entry.size : 0), 0)
}
