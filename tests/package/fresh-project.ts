import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { REPOSITORY } from '../cli/run-cli.ts'

export interface Ended {
  code: number
  stdout: string
  stderr: string
}

/** Runs a program to its end, without what this test run has in the environment. */
export function run(
  program: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(VITEST|FORCE_COLOR$|NODE_OPTIONS$)/.test(name),
  )
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { cwd, maxBuffer: 1 << 26, env: { ...Object.fromEntries(inherited), NO_COLOR: '1', CI: '1', ...env } },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

/** A folder that goes when `dispose` is called. */
export function temporaryFolder(): { folder: string; dispose: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-package-'))
  return { folder, dispose: () => rmSync(folder, { recursive: true }) }
}

/** What `npm pack` of a folder writes into `into`, as npm is set up in a checkout: no scripts. */
export async function pack(source: string, into: string): Promise<string> {
  const args = ['pack', source, '--pack-destination', into, '--silent', '--offline']
  const { code, stdout, stderr } = await run('npm', args, REPOSITORY)
  if (code !== 0) throw new Error(`npm pack: ${stderr}`)
  return join(into, stdout.trim())
}

/**
 * A project with a packed tinymoe, as npm would have installed it; nothing is fetched: its dependencies are the checkout's.
 */
export async function freshProject(packed: string, folder: string): Promise<void> {
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, 'tinymoe'), { recursive: true })
  for (const name of readdirSync(join(REPOSITORY, 'node_modules'))) {
    symlinkSync(join(REPOSITORY, 'node_modules', name), join(modules, name))
  }
  const { code, stderr } = await run(
    'tar',
    ['-xzf', packed, '-C', join(modules, 'tinymoe'), '--strip-components=1'],
    folder,
  )
  if (code !== 0) throw new Error(`tar: ${stderr}`)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n')
}
