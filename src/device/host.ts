import { access, open, readFile, statfs } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { execute } from '../processes.ts'

/** What a command left behind. `code` is null when it could not be started at all. */
export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Where npm put a package, and which version it is. */
export interface NpmPackage {
  folder: string
  version: string
}

export type Environment = Record<string, string | undefined>

/** Everything the runtime asks of the machine, so that tests can describe another one. */
export interface Host {
  platform: string
  arch: string
  nodeVersion: string
  env: Environment
  cpuModel(): string | null
  threads(): number
  memoryBytes(): number
  /** Null where the C library is another one. */
  glibcVersion(): string | null
  run(command: string, args: string[], options?: { env?: Environment }): Promise<CommandResult>
  /** The file's text, or null when it cannot be read. */
  readText(path: string): Promise<string | null>
  exists(path: string): Promise<boolean>
  /** Why this user may not read a file, as the system's error code; null where nothing forbids it. */
  readRefusal(path: string): Promise<string | null>
  freeBytes(folder: string): Promise<number>
  fetch(url: string, init?: RequestInit): Promise<Response>
  /** Null when it is not installed. */
  npmPackage(name: string): NpmPackage | null
}

export function systemHost(): Host {
  return {
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.versions.node,
    env: process.env,
    cpuModel: () => cpus()[0]?.model.trim() || null,
    threads: availableParallelism,
    memoryBytes: totalmem,
    glibcVersion,
    run: runCommand,
    readText: (path) => readFile(path, 'utf8').catch(() => null),
    exists: async (path) => (await access(path).catch(() => false)) !== false,
    readRefusal,
    freeBytes: async (folder) => {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    },
    fetch: (url, init) => fetch(url, init),
    npmPackage,
  }
}

async function readRefusal(path: string): Promise<string | null> {
  try {
    await (await open(path)).close()
    return null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' || code === 'EPERM' ? code : null
  }
}

/** Node's own diagnostic report knows it, without a command that a slim system may lack. */
function glibcVersion(): string | null {
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report
  report.excludeNetwork = true // it would look up names of open connections
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime ?? null
}

function npmPackage(name: string): NpmPackage | null {
  const require = createRequire(import.meta.url)
  try {
    const path = require.resolve(`${name}/package.json`)
    return { folder: dirname(path), version: require(path).version }
  } catch {
    return null
  }
}

async function runCommand(
  command: string,
  args: string[],
  options: { env?: Environment } = {},
): Promise<CommandResult> {
  const { code, stdout, stderr, failure } = await execute(command, args, options)
  return failure === null ? { code: code ?? 1, stdout, stderr } : { code: null, stdout, stderr: failure }
}
