import { lock } from 'proper-lockfile'
import { cachedAddon, installedPackage, isPlaced, placedAddon } from '../device/addon.ts'
import { cacheRoot, variantFolder } from '../device/cache.ts'
import { chooseVariant } from '../device/choose.ts'
import { type Host, systemHost } from '../device/host.ts'
import { describeMachine } from '../device/machine.ts'
import { missingFiles, readManifest, unreadable } from '../device/prepared.ts'
import { ADDON_PACKAGES, DISK_BYTES, type Variant, wheelFor } from '../device/release.ts'
import { messageOf, SetupError } from '../errors.ts'
import { makeFolder } from '../files.ts'
import { addonCompiler, buildAddon, placeAddon } from './addon.ts'
import {
  type Compiler,
  type CompilerChoice,
  chooseCompiler,
  isFetched,
  withFetchedCompiler,
} from './compiler.ts'
import type { OnProgress } from './download.ts'
import { installLibraries } from './libraries.ts'
import { COMPILER, checkGivenWheels } from './requests.ts'
import { letAllRead } from './share.ts'
import { checkSpace, removeUnfinished, type Workspace } from './workspace.ts'

export interface PrepareOptions {
  /** Left out or auto: by the machine, and cpu where cuda does not succeed. */
  variant?: Variant | 'auto'
  /** Wheel files to use instead of downloading them. */
  wheels?: string[]
  /** Does everything again. */
  force?: boolean
  /** Whose compiler the addon must be made by; left out, any: the machine's if it has one, else the fetched one. */
  compiler?: CompilerChoice
  onProgress?: OnProgress
  onMessage?: (message: string) => void
}

export type SetupState = Awaited<ReturnType<typeof inspectVariant>>
export type Preparation = Awaited<ReturnType<typeof prepareVariant>>

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

/** How far one variant is. */
async function inspectVariant(host: Host, variant: Variant, reason: string) {
  const folder = variantFolder(cacheRoot(host.env), variant)
  const npmPackage = installedPackage(host, ADDON_PACKAGES[variant])
  const addon = cachedAddon(folder, npmPackage)
  const manifest = await readManifest(host, folder)
  const closed = await unreadable(host, folder, manifest, addon)
  if (closed) throw new SetupError(closed)
  const libraries = manifest !== null && (await missingFiles(folder, manifest)).length === 0
  const hasAddon = libraries && (await host.exists(addon))
  return {
    variant,
    /** Why this variant. */
    reason,
    folder,
    libraries,
    addon: hasAddon,
    /** Which compiler made the addon; null where there is none, or where it is not known. */
    compiler: hasAddon ? await addonCompiler(host, addon) : null,
    /** The addon lies also where `@tensorflow/tfjs-node` looks for it. */
    placed: hasAddon && (await isPlaced(addon, npmPackage)),
  }
}

async function prepareVariant(host: Host, variant: Variant, reason: string, options: PrepareOptions) {
  const given = await checkGivenWheels(host, variant, options.wheels ?? [])
  const before = await inspectVariant(host, variant, reason)
  const needsAddon = lacksAddon(before, options)
  if (!needsAddon && before.placed) return { ...before, changed: false, compiled: false }
  let compiled = false
  if (needsAddon) {
    const compiler = await chooseCompiler(host, options.compiler) // before a long download, not after it
    const { onProgress = () => {}, onMessage = () => {} } = options
    const workspace = { host, root: cacheRoot(host.env), given, onProgress, onMessage }
    await withLock(workspace, async () => {
      const now = await inspectVariant(host, variant, reason) // another process may have been at it
      if (!lacksAddon(now, options)) return
      await makeAddon(workspace, now, compiler, options).catch((error) => {
        if (!now.addon || !(error instanceof SetupError)) throw error
        throw new SetupError(`${error.message}; the addon that was there stays`, { cause: error })
      })
      compiled = true
    })
  }
  await tryToPlace(host, variant, before.folder, options)
  return {
    ...(await inspectVariant(host, variant, reason)),
    /** False when everything was there already. */
    changed: true,
    /** Whether this setup compiled the addon. */
    compiled,
  }
}

function lacksAddon({ addon, compiler }: SetupState, { force, compiler: asked }: PrepareOptions): boolean {
  return !addon || force === true || (asked !== undefined && isFetched(compiler) !== (asked === 'fetch'))
}

/** Libraries if they are needed, then the addon. The compiler is fetched last: all before it serves the next try too. */
async function makeAddon(
  workspace: Workspace,
  { variant, libraries, folder }: SetupState,
  compiler: Compiler | 'fetch',
  { force, compiler: asked }: PrepareOptions,
): Promise<void> {
  await removeUnfinished(workspace)
  const install = !libraries || force === true
  const parts: [string, number][] = []
  if (install) parts.push([`the ${variant} variant`, DISK_BYTES[variant]])
  if (compiler === 'fetch') parts.push([`a fetched compiler`, COMPILER.diskBytes])
  const bytes = parts.reduce((sum, [, count]) => sum + count, 0)
  if (bytes > 0) await checkSpace(workspace, parts.map(([what]) => what).join(' with '), bytes)

  if (install) await installLibraries(workspace, variant)
  else await letAllRead(folder) // earlier versions of tinymoe left it to its owner alone
  const build = async (found: Compiler) => {
    workspace.onProgress({ step: `compiling the addon with ${found.label}` })
    const npmPackage = installedPackage(workspace.host, ADDON_PACKAGES[variant])
    await buildAddon(workspace, found, folder, npmPackage)
  }
  if (compiler === 'fetch') await withFetchedCompiler(workspace, asked === 'fetch', build)
  else await build(compiler)
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
async function withLock({ root, onMessage }: Workspace, work: () => Promise<void>): Promise<void> {
  try {
    for (const folder of makeFolder(root)) await letAllRead(folder)
    const release = await waitForLock(root, onMessage)
    try {
      await work()
    } finally {
      await release().catch(() => {}) // it was taken over while this machine slept; the work itself is atomic
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof SetupError || !code) throw error
    throw new SetupError(`${root}: ${diskProblem(code, messageOf(error))}`, { cause: error })
  }
}

function diskProblem(code: string, message: string): string {
  if (code === 'ENOSPC') return 'the disk is full: free some space, or set TINYMOE_CACHE'
  if (['EACCES', 'EPERM', 'EROFS'].includes(code)) {
    return `something is missing in this cache, and this user may not write it (${message}): let its owner run \`tinymoe setup\`, or set TINYMOE_CACHE to a folder of your own`
  }
  return `cannot be used as the cache (${message}): set TINYMOE_CACHE to another folder`
}

async function waitForLock(root: string, onMessage: Workspace['onMessage']): Promise<() => Promise<void>> {
  for (let told = false; ; told = true) {
    try {
      return await lock(root, {
        lockfilePath: `${root}/setup.lock`,
        stale: STALE_LOCK_MS,
        onCompromised: () => {},
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error
      if (!told) onMessage('another tinymoe setup is at work; waiting for it')
      await new Promise((resolve) => setTimeout(resolve, RETRY_LOCK_MS))
    }
  }
}
