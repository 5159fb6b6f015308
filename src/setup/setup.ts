import { lock } from 'proper-lockfile'
import { cachedAddon, installedPackage, isPlaced, placedAddon } from '../device/addon.ts'
import { cacheRoot, variantFolder } from '../device/cache.ts'
import { chooseVariant } from '../device/choose.ts'
import { type Host, systemHost } from '../device/host.ts'
import { describeMachine } from '../device/machine.ts'
import { missingFiles, readManifest } from '../device/prepared.ts'
import { ADDON_PACKAGES, type Variant, wheelFor } from '../device/release.ts'
import { messageOf, SetupError } from '../errors.ts'
import { makeFolder } from '../files.ts'
import { buildAddon, findCompiler, placeAddon } from './addon.ts'
import type { OnProgress } from './download.ts'
import { checkGivenWheels, installLibraries } from './libraries.ts'

export interface PrepareOptions {
  /** Left out or auto: by the machine, and cpu where cuda does not succeed. */
  variant?: Variant | 'auto'
  /** Wheel files to use instead of downloading them. */
  wheels?: string[]
  /** Does everything again. */
  force?: boolean
  onProgress?: OnProgress
  onMessage?: (message: string) => void
}

/** How far one variant is. */
export interface SetupState {
  variant: Variant
  /** Why this variant. */
  reason: string
  folder: string
  libraries: boolean
  addon: boolean
  /** The addon lies also where `@tensorflow/tfjs-node` looks for it. */
  placed: boolean
}

export interface Preparation extends SetupState {
  /** False when everything was there already. */
  changed: boolean
}

const RETRY_LOCK_MS = 500
/** A lock that was not renewed for so long belongs to a process that is gone. */
const STALE_LOCK_MS = 15_000

/** What `prepareTensorflow` would start from. */
export async function inspectSetup(
  variant: Variant | 'auto' = 'auto',
  host: Host = systemHost(),
): Promise<SetupState> {
  const chosen = await resolveVariant(variant, host)
  return inspectVariant(host, chosen.variant, chosen.reason)
}

/** Makes native TensorFlow loadable: libraries and addon in the cache, the addon in node_modules. Idempotent. */
export async function prepareTensorflow(
  options: PrepareOptions = {},
  host: Host = systemHost(),
): Promise<Preparation> {
  const { variant, reason } = await resolveVariant(options.variant ?? 'auto', host)
  try {
    return await prepareVariant(host, variant, reason, options)
  } catch (error) {
    const automatic = (options.variant ?? 'auto') === 'auto'
    if (!automatic || variant === 'cpu' || !(error instanceof SetupError)) throw error
    options.onMessage?.(`the CUDA variant was not set up: ${error.message}; trying the cpu variant`)
    return prepareVariant(host, 'cpu', 'the CUDA variant could not be set up', options)
  }
}

async function resolveVariant(
  asked: Variant | 'auto',
  host: Host,
): Promise<{ variant: Variant; reason: string }> {
  if (asked !== 'auto') {
    wheelFor(asked, host.platform, host.arch) // throws where there is none
    return { variant: asked, reason: `asked for (--variant ${asked})` }
  }
  const { variant, reason } = chooseVariant(await describeMachine(host))
  if (variant === 'none') throw new SetupError(reason)
  return { variant, reason }
}

async function inspectVariant(host: Host, variant: Variant, reason: string): Promise<SetupState> {
  const folder = variantFolder(cacheRoot(host.env), variant)
  const npmPackage = installedPackage(host, ADDON_PACKAGES[variant])
  const addon = cachedAddon(folder, npmPackage)
  const manifest = await readManifest(host, folder)
  const libraries = manifest !== null && (await missingFiles(folder, manifest)).length === 0
  const hasAddon = libraries && (await host.exists(addon))
  return {
    variant,
    reason,
    folder,
    libraries,
    addon: hasAddon,
    placed: hasAddon && (await isPlaced(addon, npmPackage)),
  }
}

async function prepareVariant(
  host: Host,
  variant: Variant,
  reason: string,
  options: PrepareOptions,
): Promise<Preparation> {
  const given = await checkGivenWheels(host, variant, options.wheels ?? [])
  const before = await inspectVariant(host, variant, reason)
  if (before.addon && before.placed && !options.force) return { ...before, changed: false }
  if (!before.addon || options.force) {
    const compiler = await findCompiler(host) // before a long download, not after it
    await withLock(host, options, async () => {
      const now = await inspectVariant(host, variant, reason) // another process may have been at it
      if (now.addon && !options.force) return
      if (!now.libraries || options.force) await installLibraries(host, variant, given, options)
      options.onProgress?.({ step: `compiling the addon with ${compiler.join(' ')}` })
      await buildAddon(host, compiler, now.folder, installedPackage(host, ADDON_PACKAGES[variant]))
    })
  }
  await tryToPlace(host, variant, before.folder, options)
  return { ...(await inspectVariant(host, variant, reason)), changed: true }
}

async function tryToPlace(host: Host, variant: Variant, folder: string, { onMessage }: PrepareOptions) {
  const npmPackage = installedPackage(host, ADDON_PACKAGES[variant])
  try {
    await placeAddon(cachedAddon(folder, npmPackage), npmPackage)
  } catch (error) {
    const target = placedAddon(npmPackage)
    onMessage?.(
      `${target}: cannot be written (${messageOf(error)}); tinymoe loads the addon from ${folder} instead`,
    )
  }
}

/** One setup at a time for one cache. Failures of the disk become one sentence. */
async function withLock(host: Host, { onMessage }: PrepareOptions, work: () => Promise<void>): Promise<void> {
  const root = cacheRoot(host.env)
  try {
    makeFolder(root)
    const release = await waitForLock(root, onMessage)
    try {
      await work()
    } finally {
      await release().catch(() => {}) // it was taken over while this machine slept; the work itself is atomic
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof SetupError || !code) throw error
    if (code === 'ENOSPC')
      throw new SetupError(`${root}: the disk is full: free some space, or set TINYMOE_CACHE`)
    throw new SetupError(
      `${root}: cannot be used as the cache (${messageOf(error)}): set TINYMOE_CACHE to another folder`,
    )
  }
}

async function waitForLock(
  root: string,
  onMessage: PrepareOptions['onMessage'],
): Promise<() => Promise<void>> {
  for (let told = false; ; told = true) {
    try {
      return await lock(root, {
        lockfilePath: `${root}/setup.lock`,
        stale: STALE_LOCK_MS,
        onCompromised: () => {},
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error
      if (!told) onMessage?.('another tinymoe setup is at work; waiting for it')
      await new Promise((resolve) => setTimeout(resolve, RETRY_LOCK_MS))
    }
  }
}
