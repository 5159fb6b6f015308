import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { COMMAND, REPOSITORY } from './run-cli.ts'

const HOOK = join(import.meta.dirname, 'loaded-modules.mjs')

/** What runs the source here, and is not in the built package. */
const RUNS_TYPESCRIPT = ['esbuild', 'tsx']

/** The packages that a command imports, and the folders of src. */
function importedBy(...args: string[]): { packages: string[]; folders: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-imports-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'urls')
  const [node, ...rest] = COMMAND
  const { status, stderr } = spawnSync(node, ['--import', HOOK, ...rest, ...args], {
    cwd: REPOSITORY,
    env: { ...process.env, LOADED_MODULES: file },
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const urls = readFileSync(file, 'utf8')
  const found = (pattern: RegExp) =>
    [...new Set(Array.from(urls.matchAll(pattern), ([, name]) => name))].sort()
  return {
    packages: found(/node_modules\/((?:@[^/]+\/)?[^/]+)/g).filter((name) => !RUNS_TYPESCRIPT.includes(name)),
    folders: found(/\/src\/([a-z]+)\//g),
  }
}

const LIGHT = ['backend', 'cli', 'device', 'model', 'script', 'text'] // of these, names of choices and what reads flags

test.each([['--version'], ['--help'], ['help']])('%s reads flags and no more', (...args) => {
  expect(importedBy(...args)).toEqual({ packages: ['commander', 'picocolors'], folders: LIGHT })
})

test.each([[['cost']], [['inspect', 'deepseek-v3']], [['inspect', 'models/moe']], [['inspect', '--list']]])(
  '%j counts without tensors and devices',
  (args) => {
    const { packages, folders } = importedBy(...args)
    expect(packages).toEqual(['commander', 'picocolors', 'zod'])
    const counting = [...LIGHT, 'checkpoint', 'cost', 'families']
    expect(folders.filter((folder) => !counting.includes(folder))).toEqual([])
  },
)
