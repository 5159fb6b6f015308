import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment, Host } from '../device/host.ts'
import { TENSORFLOW } from '../device/release.ts'
import { SetupError } from '../errors.ts'
import { COMPILER, compilerRequest } from './requests.ts'
import { obtain, removeDownloads, temporaryFolder, unpack, type Workspace } from './workspace.ts'

/** Whose compiler makes the addon: the machine's, or one that is fetched for it. */
export const COMPILER_CHOICES = ['system', 'fetch'] as const
export type CompilerChoice = (typeof COMPILER_CHOICES)[number]

/** A C++ compiler that runs. */
export interface Compiler {
  /** The words of a command that call it. */
  command: string[]
  env?: Environment
  /** For messages. */
  label: string
  /** Which one it is, with its version. */
  name: string
}

const FETCHED = `${COMPILER.project} ${COMPILER.version}`

const NONE_FOUND = 'no C++ compiler was found (c++, g++, clang++)'
const INSTALL_ONE = 'install one, such as `apt install g++` or `xcode-select --install`'

/** Zig's names of platforms. Named, since without a target it compiles for the processor and C library that it runs on. */
const ZIG_TARGETS: Record<string, string> = {
  'linux-x64': `x86_64-linux-gnu.${TENSORFLOW.minimumGlibc}`,
  'linux-arm64': `aarch64-linux-gnu.${TENSORFLOW.minimumGlibc}`,
  'darwin-arm64': 'aarch64-macos.12.0',
}

/** Zig brings the C library's headers for every system; those of others are a third of it. */
const ZIG_MEMBERS = /^ziglang\/(?!lib\/libc\/(include\/)?[^/]*(windows|mingw|freebsd|netbsd|openbsd|wasi))/

export function isFetched(compilerName: string | null): boolean {
  return compilerName?.startsWith(`${COMPILER.project} `) ?? false
}

/** The machine's compiler, or 'fetch' where one has to be fetched: known before a long download, not after it. */
export async function chooseCompiler(host: Host, choice?: CompilerChoice): Promise<Compiler | 'fetch'> {
  const system = choice === 'fetch' ? null : await findCompiler(host)
  if (system) return system
  if (choice === 'system') throw new SetupError(`${NONE_FOUND}: ${INSTALL_ONE}`)
  return 'fetch'
}

/** `CXX`, or the first that runs of the usual names. */
async function findCompiler(host: Host): Promise<Compiler | null> {
  const given = host.env.CXX?.trim()
  const candidates = given ? [given] : ['c++', 'g++', 'clang++']
  for (const label of candidates) {
    const [command, ...args] = label.split(/\s+/)
    const { code, stdout } = await host.run(command, [...args, '--version'])
    const name = stdout.split('\n')[0].trim() || label
    if (code === 0) return { command: [command, ...args], label, name }
  }
  if (given) throw new SetupError(`CXX="${given}" does not run: set it to a C++17 compiler or unset it`)
  return null
}

/** Fetches a compiler beside the cache's folders, gives it to `work`, and removes it again. */
export async function withFetchedCompiler(
  workspace: Workspace,
  asked: boolean,
  work: (compiler: Compiler) => Promise<void>,
): Promise<void> {
  const { host, onMessage } = workspace
  if (!asked) onMessage(`${NONE_FOUND}: ${FETCHED} is fetched for this setup and removed again`)
  const wheel = await obtain(workspace, compilerRequest(host)).catch((error) => {
    if (asked || !(error instanceof SetupError)) throw error
    throw new SetupError(`${NONE_FOUND}: ${INSTALL_ONE}; nor could one be fetched (${error.message})`, {
      cause: error,
    })
  })
  const folder = await temporaryFolder(workspace)
  try {
    await unpack(workspace, wheel, ZIG_MEMBERS, folder)
    const target = ZIG_TARGETS[`${host.platform}-${host.arch}`]
    const cache = join(folder, 'cache') // else it would be in the home folder
    await work({
      command: [join(folder, 'ziglang', 'zig'), 'c++', '-target', target],
      env: { ...host.env, ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache },
      label: FETCHED,
      name: FETCHED,
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  await removeDownloads(workspace)
}
