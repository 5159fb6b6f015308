import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError } from '../errors.ts'
import type { Host, NpmPackage } from './host.ts'
import { libraryNames } from './release.ts'
import { SESSION_OPTIONS_HEADER } from './session-options.ts'

/** tinymoe's kernels for TensorFlow, compiled into the addon. */
const KERNELS = fileURLToPath(new URL('kernels', import.meta.url))

/** Where tfjs-node itself looks for its addon. */
export function placedAddon({ folder }: NpmPackage): string {
  return join(folder, 'lib', 'napi-v8', 'tfjs_binding.node')
}

/**
 * Where the cache keeps the addon. It carries the libraries' absolute path, since its copy in node_modules lies
 * elsewhere; so the path is part of its key, and a cache that was moved gets a new one. So is what is compiled into it.
 */
export function cachedAddon(variantFolder: string, { version }: NpmPackage): string {
  const hash = createHash('sha256').update(variantFolder).update(SESSION_OPTIONS_HEADER)
  for (const name of readdirSync(KERNELS).sort()) hash.update(readFileSync(join(KERNELS, name)))
  const key = hash.digest('hex').slice(0, 8)
  return join(variantFolder, 'addon', `tfjs-node-${version}-${key}`, 'tfjs_binding.node')
}

export function installedPackage(host: Host, name: string): NpmPackage {
  const found = host.npmPackage(name)
  if (!found) {
    // Without the flag npm runs tfjs-node's own install script, whose download is gone, and removes the package again.
    throw new SetupError(
      `the npm package ${name} is not installed: run \`npm install --ignore-scripts ${name}\``,
    )
  }
  return found
}

/** The C++ compiler as words of a command: `CXX`, or the first that runs of the usual names. */
export async function findCompiler(host: Host): Promise<string[]> {
  const given = host.env.CXX?.trim()
  const candidates = given ? [given] : ['c++', 'g++', 'clang++']
  for (const candidate of candidates) {
    const [command, ...args] = candidate.split(/\s+/)
    const { code } = await host.run(command, [...args, '--version'])
    if (code === 0) return [command, ...args]
  }
  throw new SetupError(
    given
      ? `CXX="${given}" does not run: set it to a C++17 compiler or unset it`
      : 'no C++ compiler was found (c++, g++, clang++): install one, such as `apt install g++` or `xcode-select --install`',
  )
}

/** Compiles tfjs-node's two C++ files and our kernels against the libraries in `variantFolder`, and keeps the result there. */
export async function buildAddon(
  host: Host,
  [compiler, ...compilerArgs]: string[],
  variantFolder: string,
  npmPackage: NpmPackage,
): Promise<void> {
  const target = cachedAddon(variantFolder, npmPackage)
  const unfinished = `${target}.${process.pid}`
  const libraries = join(variantFolder, 'tensorflow')
  const { folder } = npmPackage
  const napi = installedPackage(host, 'node-api-headers').folder
  await mkdir(dirname(target), { recursive: true })
  const header = join(dirname(target), 'session-options.h')
  await writeFile(header, SESSION_OPTIONS_HEADER)
  const { code, stderr } = await host.run(compiler, [
    ...compilerArgs,
    ...['-std=c++17', '-O3', '-shared', '-fPIC'],
    ...(host.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []),
    ...['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    ...[join(napi, 'include'), join(folder, '..'), folder, join(libraries, 'include')].map(
      (path) => `-I${path}`,
    ),
    ...['-include', header],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(folder, 'binding', name)),
    join(KERNELS, 'kernels.cc'),
    ...libraryNames(host.platform).map((name) => join(libraries, name)),
    `-Wl,-rpath,${libraries}`,
    ...['-o', unfinished],
  ])
  if (code !== 0) {
    await rm(unfinished, { force: true })
    const line = stderr.split('\n').find((text) => /error/i.test(text)) ?? stderr.trim().split('\n')[0]
    throw new SetupError(`${compiler} cannot compile the addon of ${folder}: ${line || `exit code ${code}`}`)
  }
  await rename(unfinished, target)
}

/** Whether tfjs-node would find exactly this addon by itself. */
export async function isPlaced(addon: string, npmPackage: NpmPackage): Promise<boolean> {
  const [ours, theirs] = await Promise.all(
    [addon, placedAddon(npmPackage)].map((path) => readFile(path).catch(() => null)),
  )
  return ours !== null && theirs !== null && ours.equals(theirs)
}

/** Copies the addon into the npm package. By rename, so that a process that has the old one open keeps it. */
export async function placeAddon(addon: string, npmPackage: NpmPackage): Promise<void> {
  const target = placedAddon(npmPackage)
  await mkdir(dirname(target), { recursive: true })
  await copyFile(addon, `${target}.${process.pid}`)
  await rename(`${target}.${process.pid}`, target)
}
