import { access, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Command } from 'commander'
import { cacheRoot } from '../../src/device/cache.ts'
import { systemHost } from '../../src/device/host.ts'
import { libraryNames, TENSORFLOW } from '../../src/device/release.ts'
import { InputError, SetupError } from '../../src/errors.ts'
import { makeFolder, writeAtomically } from '../../src/files.ts'
import { remark, write } from '../../src/script/output.ts'
import { runScript } from '../../src/script/run.ts'
import { chooseCompiler } from '../../src/setup/compiler.ts'
import { tensorflowRequest } from '../../src/setup/requests.ts'
import { checkSpace, obtain, removeDownloads, unpack, type Workspace } from '../../src/setup/workspace.ts'
import { auditCases, forEachStep } from './cases.ts'
import { auditFolder, hasPlacement, placementProgram, readRegistrations } from './placement.ts'
import { REGISTRATIONS_FILE } from './registrations.ts'
import { auditTables } from './tables.ts'

/*
 * What TensorFlow's CUDA build would do with the recorded graphs, on a machine without a card:
 *   npm run audit:cuda -- [--yes] [--write]
 * Fetches the build after asking, compiles placement.cc against it, places every step of cases.ts and prints the tables of
 * docs/gpu.md. Then tests/cuda/placement.test.ts runs with the tests.
 */

/** Room for the wheel and what is unpacked of it. */
const DISK_BYTES = 2.2e9

interface AuditFlags {
  yes?: boolean
  write?: boolean
}

async function audit({ yes, write: store }: AuditFlags): Promise<void> {
  if (!hasPlacement()) {
    if (!yes) await ask()
    await install()
  }
  const ops = new Set<string>()
  await forEachStep(auditCases(), (_, step) => {
    for (const { op } of step.nodes) ops.add(op)
  })
  if (store) {
    const registrations = { tensorflow: TENSORFLOW.version, ops: readRegistrations([...ops].sort()) }
    writeAtomically(REGISTRATIONS_FILE, `${JSON.stringify(registrations)}\n`)
  }
  await write(await auditTables())
}

async function ask(): Promise<void> {
  const what = `TensorFlow ${TENSORFLOW.version} with CUDA, 0.6 GB to fetch and 1.4 GB in ${auditFolder()}`
  if (!process.stdin.isTTY) throw new InputError(`audit: needs ${what}: say --yes to fetch it`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${what}. Fetch it? [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new InputError('audit: nothing was fetched')
  } finally {
    terminal.close()
  }
}

/** Libraries, headers and the program beside the final folder, which is then there whole or not at all. */
async function install(): Promise<void> {
  const host = systemHost()
  const workspace: Workspace = {
    host,
    root: cacheRoot(),
    given: [],
    onProgress: ({ step, done }) => done === undefined && remark(step),
    onMessage: remark,
  }
  makeFolder(workspace.root)
  const compiler = await chooseCompiler(host, 'system')
  if (compiler === 'fetch') throw new SetupError('audit: needs a C++ compiler of this machine')
  await checkSpace(workspace, 'the audit', DISK_BYTES)
  const building = await mkdtemp(join(workspace.root, 'unfinished-'))
  try {
    const wheel = await obtain(workspace, tensorflowRequest(host, 'cuda'))
    const libraries = libraryNames(host.platform)
    await unpack(workspace, wheel, new RegExp(`^tensorflow/(include/|${libraries.join('|')})`), building)
    const [program, ...options] = compiler.command
    const built = join(building, 'placement')
    const args = [
      ...options,
      ...['-std=c++17', '-O1', '-DNDEBUG', '-w', '-DEIGEN_MAX_ALIGN_BYTES=64'],
      ...['-I', join(building, 'tensorflow/include'), join(import.meta.dirname, 'placement.cc'), '-o', built],
      '-Wl,--no-as-needed',
      ...libraries.map((name) => join(building, 'tensorflow', name)),
      '-Wl,-rpath,$ORIGIN/tensorflow',
    ]
    remark('compiling tests/cuda/placement.cc')
    const { code, stderr } = await host.run(program, args)
    if (code !== 0) throw new SetupError(`audit: placement.cc cannot be compiled: ${stderr.split('\n')[0]}`)
    await access(built)
    await rm(auditFolder(), { recursive: true, force: true })
    await rename(building, dirname(placementProgram()))
    await removeDownloads(workspace)
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

await runScript(
  new Command('audit:cuda')
    .description("what TensorFlow's CUDA build would do with the recorded graphs; needs no card")
    .option('--yes', 'fetch what is missing without asking')
    .option('--write', 'store the registrations that the tests check against')
    .action(audit),
)
