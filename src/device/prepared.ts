import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { cachedAddon, placedAddon } from './addon.ts'
import { cacheRoot, variantFolder } from './cache.ts'
import { type Host, systemHost } from './host.ts'
import { ADDON_PACKAGES, VARIANTS, type Variant } from './release.ts'

/** What is there of each variant: the addon to load, or null; and why it cannot be loaded although setup once ran, or null. */
export type Prepared = Record<Variant, { addon: string | null; problem: string | null }>

/** Written last by setup, so that a folder with a manifest is a complete one. */
export const Manifest = z.object({
  tensorflow: z.string(),
  variant: z.enum(VARIANTS),
  files: z.array(z.object({ path: z.string(), bytes: z.number() })),
})
export type Manifest = z.infer<typeof Manifest>

export const MANIFEST_FILE = 'manifest.json'

export async function readPrepared(host: Host = systemHost()): Promise<Prepared> {
  const root = cacheRoot(host.env)
  const [cpu, cuda] = await Promise.all(VARIANTS.map((variant) => readVariant(host, root, variant)))
  return { cpu, cuda }
}

async function readVariant(host: Host, root: string, variant: Variant): Promise<Prepared[Variant]> {
  const npmPackage = host.npmPackage(ADDON_PACKAGES[variant])
  if (!npmPackage)
    return { addon: null, problem: `the npm package ${ADDON_PACKAGES[variant]} is not installed` }
  const folder = variantFolder(root, variant)
  const cached = cachedAddon(folder, npmPackage)
  const manifest = await readManifest(host, folder)
  const closed = await unreadable(host, folder, manifest, cached)
  if (closed) return { addon: null, problem: closed }
  const missing = manifest ? await missingFiles(folder, manifest) : []
  if (missing.length > 0) {
    const more = missing.length > 1 ? ` and ${missing.length - 1} more` : ''
    const problem = `libraries are missing from ${folder}: ${missing[0]}${more}; run \`tinymoe setup --variant ${variant}\``
    return { addon: null, problem }
  }
  if (manifest) {
    if (await host.exists(cached)) return { addon: cached, problem: null }
    // What lies in node_modules may be of another version of tinymoe, which would be slower without a word.
    const problem = 'its addon is not compiled for this version of tinymoe: run `tinymoe setup`'
    return { addon: null, problem }
  }
  const placed = placedAddon(npmPackage)
  return { addon: (await host.exists(placed)) ? placed : null, problem: null }
}

export async function readManifest(host: Host, folder: string): Promise<Manifest | null> {
  const text = await host.readText(join(folder, MANIFEST_FILE))
  if (text === null) return null
  try {
    return Manifest.parse(JSON.parse(text))
  } catch {
    return null // half a manifest is no manifest: setup writes a new one
  }
}

/** One sentence where this user may not read what is there, or null: another user may have made the cache. */
export async function unreadable(
  host: Host,
  folder: string,
  manifest: Manifest | null,
  addon: string,
): Promise<string | null> {
  const libraries = manifest?.files.filter(({ path }) => /\.(so|dylib)(\.|$)/.test(path)) ?? []
  const paths = [MANIFEST_FILE, ...libraries.map(({ path }) => path)].map((path) => join(folder, path))
  for (const path of [...paths, addon]) {
    const code = await host.readRefusal(path)
    if (code) {
      const root = cacheRoot(host.env)
      return `${path}: this user may not read it (${code}): let its owner run \`chmod -R a+rX ${root}\`, or set TINYMOE_CACHE to another folder`
    }
  }
  return null
}

/** Files of the manifest that are gone or have another length, as paths inside the folder. */
export async function missingFiles(folder: string, { files }: Manifest): Promise<string[]> {
  const found = await Promise.all(files.map(({ path }) => stat(join(folder, path)).catch(() => null)))
  return files.filter(({ bytes }, i) => found[i]?.size !== bytes).map(({ path }) => path)
}
