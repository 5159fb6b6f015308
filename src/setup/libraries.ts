import { cp, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ADDON_FOLDER } from '../device/addon.ts'
import { variantFolder } from '../device/cache.ts'
import type { Host } from '../device/host.ts'
import { MANIFEST_FILE, type Manifest } from '../device/prepared.ts'
import { libraryNames, TENSORFLOW, type Variant } from '../device/release.ts'
import { cudaRequests, tensorflowRequest } from './requests.ts'
import { letAllRead } from './share.ts'
import type { ExtractedFile } from './wheel.ts'
import {
  obtain,
  removeDownloads,
  temporaryFolder,
  unpack,
  type Workspace,
  withOwnWheel,
} from './workspace.ts'

/** Downloads the variant's wheels, unpacks what is needed of them beside the final folder, and renames it there. */
export async function installLibraries(workspace: Workspace, variant: Variant): Promise<void> {
  const { host, root } = workspace
  const tensorflow = await obtain(workspace, tensorflowRequest(host, variant))
  const wheels = [tensorflow]
  if (variant === 'cuda') {
    const requirements = await withOwnWheel(
      workspace,
      tensorflow,
      async ({ identity }) => identity.requirements,
    )
    for (const request of cudaRequests(requirements)) wheels.push(await obtain(workspace, request))
  }

  const building = await temporaryFolder(workspace)
  const files: ExtractedFile[] = []
  for (const wheel of wheels) {
    files.push(...(await unpack(workspace, wheel, wanted(host, wheel === tensorflow), building)))
  }
  const manifest: Manifest = { tensorflow: TENSORFLOW.version, variant, files }
  await writeFile(join(building, MANIFEST_FILE), JSON.stringify(manifest, null, 1))
  const target = variantFolder(root, variant)
  await keepAddons(target, building)
  await letAllRead(building)
  await replaceFolder(workspace, building, target)
  await removeDownloads(workspace)
}

/** The members to keep: libraries and the headers of the C API; of NVIDIA's wheels also the PTX assembler. */
function wanted(host: Host, isTensorflow: boolean): RegExp {
  if (!isTensorflow) return /^nvidia\/\w+\/(lib\/[^/]+\.so[.\d]*|bin\/ptxas|nvvm\/libdevice\/[^/]+\.bc)$/
  const libraries = libraryNames(host.platform).map((name) => name.replaceAll('.', '\\.'))
  const headers = 'include/(tensorflow/c|tensorflow/core/platform|tsl/platform|xla/tsl/c)/[\\w/]+\\.h'
  return new RegExp(`^tensorflow/(${libraries.join('|')}|${headers})$`)
}

/** Libraries that are installed again keep the addons that fit them: one may not compile now, others serve other checkouts. */
async function keepAddons(from: string, to: string): Promise<void> {
  await cp(join(from, ADDON_FOLDER), join(to, ADDON_FOLDER), { recursive: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    },
  )
}

/** A folder cannot be renamed over another, so the old one steps aside first; who has its files open keeps them. */
async function replaceFolder(workspace: Workspace, source: string, target: string): Promise<void> {
  const aside = await temporaryFolder(workspace)
  await rename(target, join(aside, 'old')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(source, target)
  await rm(aside, { recursive: true, force: true })
}
