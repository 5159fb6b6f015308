import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { runScript } from '../../src/script/run.ts'
import { REPOSITORY } from '../cli/run-cli.ts'

const program = new Command('tsx tests/package/node-versions.ts')
  .description("Runs the package's tests under this Node and other versions, which npm fetches.")
  .argument('<version...>', 'such as 22 24 26')

await runScript(
  program.action((versions: string[]) => {
    const folder = mkdtempSync(join(tmpdir(), 'tinymoe-nodes-'))
    try {
      const nodes = [process.execPath, ...fetchNodes(versions, folder)]
      const env = { ...process.env, TINYMOE_TEST_NODES: nodes.join(':') }
      const vitest = ['node_modules/vitest/vitest.mjs', 'run', 'tests/package/package.test.ts']
      const { status } = spawnSync(process.execPath, vitest, { cwd: REPOSITORY, env, stdio: 'inherit' })
      process.exitCode = status ?? 1
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }),
)

/** npm has Node's own binaries as packages, one for each platform. */
function fetchNodes(versions: string[], folder: string): string[] {
  const binary = `node-${process.platform}-${process.arch}`
  const packages = versions.map((version) => `node-${version}@npm:${binary}@${version}`)
  execFileSync('npm', ['install', '--ignore-scripts', '--no-save', '--prefix', folder, ...packages])
  return versions.map((version) => join(folder, 'node_modules', `node-${version}`, 'bin', 'node'))
}
