import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError } from '../errors.ts'
import type { Host, NpmPackage } from './host.ts'

/** What tinymoe adds in C++: kernels for TensorFlow, a header that goes before tfjs-node's own files, and an addon for options. */
export const NATIVE = fileURLToPath(new URL('../native', import.meta.url))

/** Where a variant's folder has its addons: one for each version of what is compiled. */
export const ADDON_FOLDER = 'addon'

/** Where tfjs-node itself looks for its addon. */
export function placedAddon({ folder }: NpmPackage): string {
  return join(folder, 'lib', 'napi-v8', 'tfjs_binding.node')
}

/**
 * Where the cache keeps the addon. It carries the libraries' absolute path, since its copy in node_modules lies
 * elsewhere; so the path is part of its key, and a cache that was moved gets a new one. So is what is compiled into it.
 */
export function cachedAddon(variantFolder: string, { version }: NpmPackage): string {
  const hash = createHash('sha256').update(variantFolder)
  for (const name of readdirSync(NATIVE).sort()) hash.update(readFileSync(join(NATIVE, name)))
  const key = hash.digest('hex').slice(0, 8)
  return join(variantFolder, ADDON_FOLDER, `tfjs-node-${version}-${key}`, 'tfjs_binding.node')
}

/** What is compiled beside an addon, to be loaded before it. */
export function environmentAddon(addon: string): string {
  return join(dirname(addon), 'tinymoe_environment.node')
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

/** Whether tfjs-node would find exactly this addon by itself. */
export async function isPlaced(addon: string, npmPackage: NpmPackage): Promise<boolean> {
  const [ours, theirs] = await Promise.all(
    [addon, placedAddon(npmPackage)].map((path) => readFile(path).catch(() => null)),
  )
  return ours !== null && theirs !== null && ours.equals(theirs)
}
