import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { REPOSITORY } from '../cli/run-cli.ts'

const run = promisify(execFile)

/** A command of the built package, and what it said under one Node. */
export interface Said {
  command: string
  code: number
  stdout: string
  stderr: string
}

const MODEL = 'node_modules/tinymoe/models/moe'
const PROMPT = ['--prompt', 'Once upon a time', '--max-tokens', '12']

/** Every backend, training, files and the commands that only read; those whose output has times in it are not compared. */
const COMMANDS: { args: string[]; hasTimes?: boolean }[] = [
  { args: ['--version'] },
  { args: ['inspect', MODEL] },
  { args: ['cost'] },
  { args: ['generate', MODEL, ...PROMPT] },
  { args: ['--device', 'wasm', 'generate', MODEL, ...PROMPT] },
  { args: ['--device', 'js', 'generate', MODEL, ...PROMPT] },
  { args: ['--threads', '1', 'logits', MODEL, '--tokens', '1,5,34', '--trace'] },
  { args: ['trace', MODEL, ...PROMPT, '--out', 'trace.html'] },
  { args: ['eval', MODEL, '--samples', '1', '--domains', 'code'], hasTimes: true },
  {
    args: [
      'train',
      '--preset',
      'moe',
      '--size',
      'small',
      '--steps',
      '1',
      '--batch',
      '1',
      '--length',
      '16',
      '--out',
      'run',
    ],
    hasTimes: true,
  },
  { args: ['setup', '--check'], hasTimes: true },
  { args: ['doctor'], hasTimes: true },
]

/** Builds and packs the project, and lays the package into a folder of its own, beside the dependencies that are here already. */
export async function packAndInstall(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tinymoe-package-'))
  const modules = join(folder, 'node_modules')
  await mkdir(join(modules, 'tinymoe'), { recursive: true })
  await run('npm', ['pack', '--ignore-scripts=false', '--pack-destination', folder], { cwd: REPOSITORY })
  const archive = (await readdir(folder)).find((name) => name.endsWith('.tgz'))!
  await run('tar', ['-xzf', archive, '--strip-components=1', '-C', join(modules, 'tinymoe')], { cwd: folder })
  const here = join(REPOSITORY, 'node_modules')
  for (const name of await readdir(here)) await symlink(join(here, name), join(modules, name))
  return folder
}

/** Runs the commands under one Node. `said` holds what can be compared between Nodes, `warnings` what nobody wants to read. */
export async function tryUnder(node: string, folder: string) {
  const said: Said[] = []
  const warnings: Said[] = []
  const { TINYMOE_DEVICE: _, NODE_OPTIONS: __, ...env } = process.env
  for (const { args, hasTimes } of COMMANDS) {
    await rm(join(folder, 'run'), { recursive: true, force: true })
    const command = args.join(' ')
    const main = join(folder, 'node_modules/tinymoe/dist/src/cli/main.js')
    const one: Said = await run(node, [main, ...args], { cwd: folder, env }).then(
      ({ stdout, stderr }) => ({ command, code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ command, code, stdout, stderr }),
    )
    if (one.code !== 0 || /warning|deprecat|experimental/i.test(one.stderr)) warnings.push(one)
    said.push({ ...one, stdout: hasTimes ? '' : one.stdout, stderr: '' })
  }
  return { said, warnings }
}
