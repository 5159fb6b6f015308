import { mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheRoot, variantFolder } from '../device/cache.ts'
import type { Host } from '../device/host.ts'
import { MANIFEST_FILE, type Manifest } from '../device/prepared.ts'
import {
  DISK_BYTES,
  libraryNames,
  NVIDIA_PLATFORMS,
  TENSORFLOW,
  type Variant,
  wheelFor,
} from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { bytesBelow, type OnProgress, obtainWheel, type WheelRequest } from './download.ts'
import { type ExtractedFile, extract, type WheelIdentity, withWheel } from './wheel.ts'

/** A wheel file that the caller brought. */
export interface GivenWheel {
  path: string
  bytes: number
  identity: WheelIdentity
}

const UNFINISHED = 'unfinished-'

/** Reads what the given wheels are and refuses those that this variant has no use for. */
export async function checkGivenWheels(host: Host, variant: Variant, paths: string[]): Promise<GivenWheel[]> {
  const expected = tensorflowRequest(host, variant)
  const given: GivenWheel[] = []
  for (const path of paths) {
    const identity = await withWheel(path, async (wheel) => wheel.identity)
    const isNvidia = variant === 'cuda' && identity.project.startsWith('nvidia-')
    if (!isNvidia && !fulfils(identity, expected)) {
      const { project, version, platforms } = identity
      throw new SetupError(
        `${path}: is ${project} ${version} for ${platforms.join(', ')}, expected ${describe(expected)}`,
      )
    }
    given.push({ path, bytes: (await stat(path)).size, identity })
  }
  return given
}

/** Downloads the variant's wheels, unpacks what is needed of them beside the final folder, and renames it there. */
export async function installLibraries(
  host: Host,
  variant: Variant,
  given: GivenWheel[],
  { onProgress = () => {} }: { onProgress?: OnProgress },
): Promise<void> {
  const root = cacheRoot(host.env)
  const downloads = join(root, 'downloads')
  await removeUnfinished(root)
  const there = (await bytesBelow(downloads)) + given.reduce((sum, { bytes }) => sum + bytes, 0)
  await checkSpace(host, root, variant, there)

  const obtain = async (request: WheelRequest) =>
    given.find(({ identity }) => fulfils(identity, request))?.path ??
    (await obtainWheel(host, request, downloads, onProgress))
  const tensorflow = await obtain(tensorflowRequest(host, variant))
  const wheels = [tensorflow]
  if (variant === 'cuda') {
    const requirements = await withOwnWheel(
      tensorflow,
      downloads,
      async ({ identity }) => identity.requirements,
    )
    for (const request of cudaRequests(requirements)) wheels.push(await obtain(request))
  }

  const building = await mkdtemp(join(root, UNFINISHED))
  const files: ExtractedFile[] = []
  for (const wheel of wheels) {
    files.push(...(await unpack(wheel, wanted(host, wheel === tensorflow), building, downloads, onProgress)))
  }
  const manifest: Manifest = { tensorflow: TENSORFLOW.version, variant, files }
  await writeFile(join(building, MANIFEST_FILE), JSON.stringify(manifest, null, 1))
  await replaceFolder(building, variantFolder(root, variant), root)
  await rm(downloads, { recursive: true, force: true })
}

function tensorflowRequest(host: Host, variant: Variant): WheelRequest {
  const { project, platformTag } = wheelFor(variant, host.platform, host.arch)
  return { project, version: TENSORFLOW.version, platforms: [platformTag] }
}

/**
 * The wheels that TensorFlow's extra `and-cuda` names, each at the lowest version it allows: that is the one
 * TensorFlow was built with, and it stays the same when NVIDIA publishes another.
 */
export function cudaRequests(requirements: string[]): WheelRequest[] {
  return requirements
    .filter((line) => line.startsWith('nvidia-') && /extra\s*==\s*["']and-cuda["']/.test(line))
    .map((line) => {
      const project = /^[\w-]+/.exec(line)![0]
      const version = /[>=]=\s*([\d.]+)/.exec(line)?.[1]
      if (!version)
        throw new SetupError(`TensorFlow's metadata names no lowest version of ${project}: "${line}"`)
      return { project, version, platforms: NVIDIA_PLATFORMS }
    })
}

/** The members to keep: libraries and the headers of the C API; of NVIDIA's wheels also the PTX assembler. */
function wanted(host: Host, isTensorflow: boolean): RegExp {
  if (!isTensorflow) return /^nvidia\/\w+\/(lib\/[^/]+\.so[.\d]*|bin\/ptxas|nvvm\/libdevice\/[^/]+\.bc)$/
  const libraries = libraryNames(host.platform).map((name) => name.replaceAll('.', '\\.'))
  const headers = 'include/(tensorflow/c|tensorflow/core/platform|tsl/platform|xla/tsl/c)/[\\w/]+\\.h'
  return new RegExp(`^tensorflow/(${libraries.join('|')}|${headers})$`)
}

async function unpack(
  path: string,
  members: RegExp,
  folder: string,
  downloads: string,
  onProgress: OnProgress,
): Promise<ExtractedFile[]> {
  return withOwnWheel(path, downloads, async (wheel) => {
    const step = `unpacking ${wheel.identity.project} ${wheel.identity.version}`
    onProgress({ step })
    const files = await extract(wheel, members, folder, (done, total) => onProgress({ step, done, total }))
    if (files.length === 0) throw new SetupError(`${path}: holds none of the expected files`)
    return files
  })
}

/** As `withWheel`; a wheel of ours that turns out broken is removed, so that the next setup downloads it again. */
async function withOwnWheel<T>(
  path: string,
  downloads: string,
  work: Parameters<typeof withWheel<T>>[1],
): Promise<T> {
  try {
    return await withWheel(path, work)
  } catch (error) {
    if (error instanceof SetupError && path.startsWith(downloads)) await rm(path, { force: true })
    throw error
  }
}

async function checkSpace(host: Host, root: string, variant: Variant, wheelBytes: number): Promise<void> {
  const needed = DISK_BYTES[variant] - wheelBytes // what has not to be downloaded needs no room
  const free = await host.freeBytes(root)
  if (free >= needed) return
  const [has, needs] = [free, needed].map((bytes) => (bytes / 1e9).toFixed(1))
  throw new SetupError(
    `${root}: has ${has} GB free, and the ${variant} variant needs ${needs} GB: free some, or set TINYMOE_CACHE to a folder on another disk`,
  )
}

/** A folder cannot be renamed over another, so the old one steps aside first; who has its files open keeps them. */
async function replaceFolder(source: string, target: string, root: string): Promise<void> {
  const aside = await mkdtemp(join(root, UNFINISHED))
  await rename(target, join(aside, 'old')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(source, target)
  await rm(aside, { recursive: true, force: true })
}

async function removeUnfinished(root: string): Promise<void> {
  const leftovers = (await readdir(root)).filter((name) => name.startsWith(UNFINISHED))
  await Promise.all(leftovers.map((name) => rm(join(root, name), { recursive: true, force: true })))
}

function fulfils({ project, version, platforms }: WheelIdentity, request: WheelRequest): boolean {
  return (
    project === request.project &&
    version === request.version &&
    platforms.some((platform) => request.platforms.includes(platform))
  )
}

function describe({ project, version, platforms }: WheelRequest): string {
  return `${project} ${version} for ${platforms.join(' or ')}`
}
