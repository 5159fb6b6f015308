import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** A model on the hub, `org/name` or `org/name@revision`. */
export interface HubName {
  repo: string
  /** A branch, tag or commit. */
  revision: string
}

/** What `org/name[@revision]` names; null for every other text. */
export function hubName(name: string): HubName | null {
  const [, repo, revision = 'main'] =
    /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w-][\w.-]*(?:\/[\w-][\w.-]*)*))?$/.exec(name) ?? []
  return repo ? { repo, revision } : null
}

/** The library, which is large, is loaded when a name asks for it. */
export function hubLibrary(): typeof import('@huggingface/hub') {
  return createRequire(import.meta.url)('@huggingface/hub')
}

/** Where a model lies in the hub's usual cache: `blobs` by their hash, `snapshots` of links to them, `refs` to snapshots. */
export function repoFolder(repo: string): string {
  const { getHFHubCachePath, getRepoFolderName } = hubLibrary()
  return join(getHFHubCachePath(), getRepoFolderName({ name: repo, type: 'model' }))
}

/** The directory of a model that was pulled, by tinymoe or by another program with the same cache; null where there is none. */
export function pulledDirectory(name: string): string | null {
  const named = hubName(name)
  if (!named || existsSync(name)) return null
  const folder = repoFolder(named.repo)
  const ref = join(folder, 'refs', named.revision)
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : named.revision
  const dir = join(folder, 'snapshots', commit)
  return existsSync(join(dir, 'config.json')) ? dir : null
}
