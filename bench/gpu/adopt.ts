import { renameSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ADDON_FOLDER, cachedAddon, installedPackage } from '../../src/device/addon.ts'
import { cacheRoot, variantFolder } from '../../src/device/cache.ts'
import { systemHost } from '../../src/device/host.ts'
import { ADDON_PACKAGES, type Variant } from '../../src/device/release.ts'

/*
 * `adopt VARIANT`: an addon is known by where its libraries lie, so one that was compiled elsewhere gets its name here. It finds
 * the libraries by LD_LIBRARY_PATH.
 */

const variant = process.argv[2] as Variant
const host = systemHost()
const folder = variantFolder(cacheRoot(host.env), variant)
const wanted = dirname(cachedAddon(folder, installedPackage(host, ADDON_PACKAGES[variant])))
const [carried] = await readdir(join(folder, ADDON_FOLDER))
renameSync(join(folder, ADDON_FOLDER, carried), wanted)
