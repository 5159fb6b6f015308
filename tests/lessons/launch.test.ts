import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { PATIENT, REPOSITORY } from '../cli/run-cli.ts'

const WATCHER = fileURLToPath(new URL('pause-watcher.cjs', import.meta.url))

test(
  'the editor configuration "Lesson 1: stop in the router" pauses at each step of the router',
  PATIENT,
  () => {
    const { configurations } = JSON.parse(readFileSync(join(REPOSITORY, '.vscode/launch.json'), 'utf8'))
    const { name, program, args, cwd } = configurations[0]
    expect(name).toBe('Lesson 1: stop in the router')
    const inFolder = (path: string) => path.replace(/^\$\{workspaceFolder\}/, REPOSITORY)

    const folder = mkdtempSync(join(tmpdir(), 'tinymoe-lesson-'))
    const PAUSES_FILE = join(folder, 'pauses')
    try {
      execFileSync(process.execPath, [inFolder(program), ...args], {
        cwd: inFolder(cwd),
        stdio: 'pipe', // its output is of no interest, and is in the error if it fails
        env: { ...cleanEnvironment(), NODE_OPTIONS: `--require "${WATCHER}"`, PAUSES_FILE },
      })
      const pauses = readFileSync(PAUSES_FILE, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(pauses.map(({ step }) => step)).toEqual([
        'logits',
        'scores',
        'choosing-bias',
        'group-limit',
        'top-k',
        'renormalise',
        'scale',
        'capacity',
      ])
      for (const { url } of pauses) expect(url).toMatch(/tests\/lessons\/01-router\.test\.ts$/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

/** This process's environment without what vitest told this worker. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))
}
