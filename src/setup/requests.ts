import { stat } from 'node:fs/promises'
import type { Host } from '../device/host.ts'
import { NVIDIA_PLATFORMS, TENSORFLOW, type Variant, wheelFor } from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { type WheelIdentity, withWheel } from './wheel.ts'

/** A wheel to fetch: exactly this version, for one of these platforms. */
export interface WheelRequest {
  /** Normalized: lower case, with hyphens. */
  project: string
  version: string
  platforms: string[]
}

/** A wheel file that the caller brought. */
export interface GivenWheel {
  path: string
  bytes: number
  identity: WheelIdentity
}

/** The compiler that setup fetches where there is none: clang, its libraries and headers, in the package of Zig. */
export const COMPILER = {
  project: 'ziglang',
  version: '0.17.1',
  /** Room for the wheel, what is unpacked of it and the C++ library that it compiles first; measured and rounded up. */
  diskBytes: 0.6e9,
} as const

const COMPILER_PLATFORMS: Record<string, string> = {
  'linux-x64': 'manylinux_2_12_x86_64',
  'linux-arm64': 'manylinux_2_17_aarch64',
  'darwin-arm64': 'macosx_13_0_arm64',
}

export function tensorflowRequest(host: Host, variant: Variant): WheelRequest {
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

export function compilerRequest({ platform, arch }: Host): WheelRequest {
  const tag = COMPILER_PLATFORMS[`${platform}-${arch}`]
  const { project, version } = COMPILER
  if (!tag) throw new SetupError(`there is no ${project} ${version} to fetch for ${platform} ${arch}`)
  return { project, version, platforms: [tag] }
}

/** Reads what the given wheels are and refuses those that this variant has no use for. */
export async function checkGivenWheels(host: Host, variant: Variant, paths: string[]): Promise<GivenWheel[]> {
  const expected = tensorflowRequest(host, variant)
  const given: GivenWheel[] = []
  for (const path of paths) {
    const identity = await withWheel(path, async (wheel) => wheel.identity)
    const isNvidia = variant === 'cuda' && identity.project.startsWith('nvidia-')
    if (!isNvidia && ![expected, compilerRequest(host)].some((request) => fulfils(identity, request))) {
      const { project, version, platforms } = identity
      throw new SetupError(
        `${path}: is ${project} ${version} for ${platforms.join(', ')}, expected ${describe(expected)}`,
      )
    }
    given.push({ path, bytes: (await stat(path)).size, identity })
  }
  return given
}

/** Whether a wheel is what was asked for, by what it says of itself or by its name. */
export function fulfils({ project, version, platforms }: WheelRequest, request: WheelRequest): boolean {
  return (
    project === request.project &&
    version === request.version &&
    platforms.some((platform) => request.platforms.includes(platform))
  )
}

function describe({ project, version, platforms }: WheelRequest): string {
  return `${project} ${version} for ${platforms.join(' or ')}`
}
