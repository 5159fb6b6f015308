import { copyFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { cachedAddon, environmentAddon, installedPackage, NATIVE, placedAddon } from '../device/addon.ts'
import type { Host, NpmPackage } from '../device/host.ts'
import { libraryNames } from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { makeFolder } from '../files.ts'
import type { Compiler } from './compiler.ts'
import { letAllRead } from './share.ts'
import { temporaryFolder, type Workspace } from './workspace.ts'

/** Beside the addon: which compiler made it. */
const COMPILER_FILE = 'compiler.txt'

/** Which compiler made the addon; null for an addon of a version of tinymoe that did not write it down. */
export async function addonCompiler(host: Host, addon: string): Promise<string | null> {
  return host.readText(join(dirname(addon), COMPILER_FILE))
}

/**
 * Compiles tfjs-node's two C++ files, our kernels and our sessions against the libraries in `variantFolder`, and a small addon that sets
 * TensorFlow's options. They replace those that are there only when they can be loaded.
 */
export async function buildAddon(
  workspace: Workspace,
  compiler: Compiler,
  variantFolder: string,
  npmPackage: NpmPackage,
): Promise<void> {
  const target = cachedAddon(variantFolder, npmPackage)
  const addons = [
    { place: environmentAddon(target), args: [join(NATIVE, 'environment.cc')] },
    { place: target, args: bindingArgs(workspace.host, variantFolder, npmPackage) },
  ]
  const building = await temporaryFolder(workspace)
  const built = ({ place }: { place: string }) => join(building, basename(place))
  try {
    for (const addon of addons) {
      await compile(workspace.host, compiler, built(addon), addon.args)
      await proveLoadable(workspace.host, compiler, built(addon))
      await letAllRead(built(addon))
    }
    for (const folder of makeFolder(dirname(target))) await letAllRead(folder)
    for (const addon of addons) await rename(built(addon), addon.place)
  } finally {
    await rm(building, { recursive: true, force: true })
  }
  await writeFile(join(dirname(target), COMPILER_FILE), compiler.name)
  await letAllRead(dirname(target))
}

function bindingArgs(host: Host, variantFolder: string, { folder }: NpmPackage): string[] {
  const libraries = join(variantFolder, 'tensorflow')
  return [
    ...[join(folder, '..'), folder, join(libraries, 'include')].map((path) => `-I${path}`),
    ...['-include', join(NATIVE, 'binding.h')],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(folder, 'binding', name)),
    ...['kernels.cc', 'session.cc', 'demand.cc'].map((name) => join(NATIVE, name)),
    ...libraryNames(host.platform).map((name) => join(libraries, name)),
    `-Wl,-rpath,${libraries}`,
  ]
}

async function compile(
  host: Host,
  { command: [program, ...options], env, label }: Compiler,
  output: string,
  args: string[],
): Promise<void> {
  const all = [
    ...options,
    ...['-std=c++17', '-O3', '-shared', '-fPIC'],
    // On Linux an addon is unloaded with the last worker thread that has it, and our threads would find their code gone.
    ...(host.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-Wl,-z,nodelete']),
    ...['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    `-I${join(installedPackage(host, 'node-api-headers').folder, 'include')}`,
    ...args,
    ...['-o', output],
  ]
  const { code, stderr } = await host.run(program, all, { env })
  if (code !== 0) {
    const cause = errorLine(stderr) || `exit code ${code}`
    throw new SetupError(`${label} cannot compile the addon ${basename(output)}: ${cause}`)
  }
  if (!(await host.exists(output)))
    throw new SetupError(`${label} ended without an error and made no addon: it is no C++ compiler`)
}

/** In a process of its own: one that cannot be loaded may take its process with it. */
async function proveLoadable(host: Host, { label }: Compiler, addon: string): Promise<void> {
  const env = { ...host.env, CUDA_VISIBLE_DEVICES: '-1', TF_CPP_MIN_LOG_LEVEL: '3' } // about the addon, not a card
  const { code, stderr } = await host.run(process.execPath, ['--require', addon, '--eval', ''], { env })
  if (code === 0) return
  throw new SetupError(
    `the addon that ${label} made cannot be loaded: ${errorLine(stderr) || `exit code ${code}`}`,
  )
}

function errorLine(stderr: string): string {
  return stderr.split('\n').find((text) => /error/i.test(text)) ?? stderr.trim().split('\n')[0]
}

/** Copies the addon into the npm package. By rename, so that a process that has the old one open keeps it. */
export async function placeAddon(addon: string, npmPackage: NpmPackage): Promise<void> {
  const target = placedAddon(npmPackage)
  for (const folder of makeFolder(dirname(target))) await letAllRead(folder)
  await copyFile(addon, `${target}.${process.pid}`)
  await rename(`${target}.${process.pid}`, target)
}
