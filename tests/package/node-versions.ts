import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Command } from 'commander'
import { runScript } from '../../src/cli/run-script.ts'
import { packAndInstall, tryUnder } from './package.ts'

const program = new Command('tsx tests/package/node-versions.ts')
  .description('Runs the built package under several versions of Node: no warning, and the same output.')
  .argument('[node...]', 'Node binaries')
  .option('--fetch <versions...>', 'also these versions, which npm fetches, such as 22 24 26')

await runScript(
  program.action(async (given: string[], { fetch = [] }: { fetch?: string[] }) => {
    const folder = await packAndInstall()
    const fetched = mkdtempSync(join(tmpdir(), 'tinymoe-nodes-'))
    try {
      const nodes = [process.execPath, ...given, ...fetchNodes(fetch, fetched)]
      if (!(await allAlike(nodes, folder))) process.exitCode = 1
    } finally {
      for (const path of [folder, fetched]) rmSync(path, { recursive: true, force: true })
    }
  }),
)

/** npm has Node's own binaries as packages, one for each platform. */
function fetchNodes(versions: string[], folder: string): string[] {
  const name = (version: string) => `node-${version}`
  const binary = `node-${process.platform}-${process.arch}`
  const packages = versions.map((version) => `${name(version)}@npm:${binary}@${version}`)
  if (packages.length > 0) {
    execFileSync('npm', ['install', '--ignore-scripts', '--no-save', '--prefix', folder, ...packages])
  }
  return versions.map((version) => join(folder, 'node_modules', name(version), 'bin', 'node'))
}

/** Prints a line for each Node, and what was wrong under it. */
async function allAlike(nodes: string[], folder: string): Promise<boolean> {
  let well = true
  let first: Awaited<ReturnType<typeof tryUnder>>['said'] | undefined
  for (const node of nodes) {
    const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
    const { said, warnings } = await tryUnder(node, folder)
    first ??= said
    const differing = said.filter((one, i) => !isDeepStrictEqual(one, first?.[i]))
    console.log(
      `${version}: ${said.length} commands, ${warnings.length} with a warning or an error, ${differing.length} unlike those of the first Node`,
    )
    for (const { command, code, stderr } of warnings) {
      console.log(`  tinymoe ${command}: exit code ${code}\n${stderr}`)
      well = false
    }
    for (const { command, stdout } of differing) {
      console.log(`  tinymoe ${command}:\n${stdout}`)
      well = false
    }
  }
  return well
}
