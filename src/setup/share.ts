import { chmod, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Lets every user read a folder and all in it, whatever the umask: root may set up a cache for others, in an image or on a
 * machine that many use. What belongs to someone else stays as it is.
 */
export async function letAllRead(path: string): Promise<void> {
  const entry = await stat(path)
  const wanted = entry.isDirectory() || entry.mode & 0o100 ? 0o555 : 0o444
  if ((entry.mode & wanted) !== wanted) {
    await chmod(path, (entry.mode & 0o7777) | wanted).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPERM') throw error
    })
  }
  if (!entry.isDirectory()) return
  for (const name of await readdir(path)) await letAllRead(join(path, name))
}
