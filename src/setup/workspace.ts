import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '../device/host.ts'
import { SetupError } from '../errors.ts'
import { bytesBelow, type OnProgress, obtainWheel } from './download.ts'
import { fulfils, type GivenWheel, type WheelRequest } from './requests.ts'
import { type ExtractedFile, extract, type Wheel, withWheel } from './wheel.ts'

/** What the steps of one setup share. All its files lie in the cache, since /tmp may be too small for them. */
export interface Workspace {
  host: Host
  /** The cache. */
  root: string
  given: GivenWheel[]
  onProgress: OnProgress
  onMessage: (message: string) => void
}

const UNFINISHED = 'unfinished-'
const DOWNLOADS = 'downloads'

/** A folder to work in; what a killed setup leaves of it, the next one removes. */
export function temporaryFolder({ root }: Workspace): Promise<string> {
  return mkdtemp(join(root, UNFINISHED))
}

export async function removeUnfinished({ root }: Workspace): Promise<void> {
  const leftovers = (await readdir(root)).filter((name) => name.startsWith(UNFINISHED))
  await Promise.all(leftovers.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

/** The path of a wheel: the caller's, one that an earlier setup left, or downloaded. */
export async function obtain({ host, root, given, onProgress }: Workspace, request: WheelRequest) {
  const brought = given.find(({ identity }) => fulfils(identity, request))
  return brought?.path ?? (await obtainWheel(host, request, join(root, DOWNLOADS), onProgress))
}

export async function removeDownloads({ root }: Workspace): Promise<void> {
  await rm(join(root, DOWNLOADS), { recursive: true, force: true })
}

/** Writes the wheel's wanted members below `folder`. */
export async function unpack(
  workspace: Workspace,
  path: string,
  members: RegExp,
  folder: string,
): Promise<ExtractedFile[]> {
  return withOwnWheel(workspace, path, async (wheel) => {
    const step = `unpacking ${wheel.identity.project} ${wheel.identity.version}`
    workspace.onProgress({ step })
    const files = await extract(wheel, members, folder, (done, total) =>
      workspace.onProgress({ step, done, total }),
    )
    if (files.length === 0) throw new SetupError(`${path}: holds none of the expected files`)
    return files
  })
}

/** As `withWheel`; a wheel of ours that turns out broken is removed, so that the next setup downloads it again. */
export async function withOwnWheel<T>(
  { root }: Workspace,
  path: string,
  work: (wheel: Wheel) => Promise<T>,
): Promise<T> {
  try {
    return await withWheel(path, work)
  } catch (error) {
    if (error instanceof SetupError && path.startsWith(join(root, DOWNLOADS))) await rm(path, { force: true })
    throw error
  }
}

/** Refuses to begin what would fill the disk: `bytes` is the room for `what`, the wheels with it. */
export async function checkSpace(
  { host, root, given }: Workspace,
  what: string,
  bytes: number,
): Promise<void> {
  const there = (await bytesBelow(join(root, DOWNLOADS))) + given.reduce((sum, wheel) => sum + wheel.bytes, 0)
  const needed = bytes - there // what has not to be downloaded needs no room
  const free = await host.freeBytes(root)
  if (free >= needed) return
  const [has, needs] = [free, needed].map((count) => (count / 1e9).toFixed(1))
  throw new SetupError(
    `${root}: has ${has} GB free, and ${what} needs ${needs} GB: free some, or set TINYMOE_CACHE to a folder on another disk`,
  )
}
