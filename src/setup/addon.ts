import { copyFile, mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cachedAddon, installedPackage, NATIVE, placedAddon } from '../device/addon.ts'
import type { Host, NpmPackage } from '../device/host.ts'
import { libraryNames } from '../device/release.ts'
import { SetupError } from '../errors.ts'

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
  const { code, stderr } = await host.run(compiler, [
    ...compilerArgs,
    ...['-std=c++17', '-O3', '-shared', '-fPIC'],
    ...(host.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []),
    ...['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    ...[join(napi, 'include'), join(folder, '..'), folder, join(libraries, 'include')].map(
      (path) => `-I${path}`,
    ),
    ...['-include', join(NATIVE, 'session-options.h')],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(folder, 'binding', name)),
    join(NATIVE, 'kernels.cc'),
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

/** Copies the addon into the npm package. By rename, so that a process that has the old one open keeps it. */
export async function placeAddon(addon: string, npmPackage: NpmPackage): Promise<void> {
  const target = placedAddon(npmPackage)
  await mkdir(dirname(target), { recursive: true })
  await copyFile(addon, `${target}.${process.pid}`)
  await rename(`${target}.${process.pid}`, target)
}
