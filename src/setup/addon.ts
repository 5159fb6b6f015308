import { copyFile, mkdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { cachedAddon, environmentAddon, installedPackage, NATIVE, placedAddon } from '../device/addon.ts'
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
  compiler: string[],
  variantFolder: string,
  npmPackage: NpmPackage,
): Promise<void> {
  const target = cachedAddon(variantFolder, npmPackage)
  const libraries = join(variantFolder, 'tensorflow')
  const { folder } = npmPackage
  await mkdir(dirname(target), { recursive: true })
  await compile(host, compiler, environmentAddon(target), [join(NATIVE, 'environment.cc')])
  await compile(host, compiler, target, [
    ...[join(folder, '..'), folder, join(libraries, 'include')].map((path) => `-I${path}`),
    ...['-include', join(NATIVE, 'binding.h')],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(folder, 'binding', name)),
    join(NATIVE, 'kernels.cc'),
    ...libraryNames(host.platform).map((name) => join(libraries, name)),
    `-Wl,-rpath,${libraries}`,
  ])
}

/** Makes an addon for Node, whole or not at all. */
async function compile(
  host: Host,
  [compiler, ...compilerArgs]: string[],
  target: string,
  args: string[],
): Promise<void> {
  const unfinished = `${target}.${process.pid}`
  const { code, stderr } = await host.run(compiler, [
    ...compilerArgs,
    ...['-std=c++17', '-O3', '-shared', '-fPIC'],
    // On Linux an addon is unloaded with the last worker thread that has it, and our threads would find their code gone.
    ...(host.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-Wl,-z,nodelete']),
    ...['-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'],
    `-I${join(installedPackage(host, 'node-api-headers').folder, 'include')}`,
    ...args,
    ...['-o', unfinished],
  ])
  if (code !== 0) {
    await rm(unfinished, { force: true })
    const line = stderr.split('\n').find((text) => /error/i.test(text)) ?? stderr.trim().split('\n')[0]
    throw new SetupError(
      `${compiler} cannot compile the addon ${basename(target)}: ${line || `exit code ${code}`}`,
    )
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
