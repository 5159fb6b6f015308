import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** What the project's lint says of files that import one module each, by file. */
function lint(imports: Record<string, string>): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-floors-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const file of ['biome.json', 'packaging/floors.jsonc']) cpSync(join(ROOT, file), join(folder, file))
  for (const [file, module] of Object.entries(imports)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), `import '${module}'\n`)
  }
  const { stdout } = spawnSync(
    join(ROOT, 'node_modules/.bin/biome'),
    ['lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json', '.'],
    { cwd: folder, encoding: 'utf8' },
  )
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { message: string; location: { path: string } }[]
  }
  return Object.fromEntries(diagnostics.map(({ message, location }) => [location.path, message]))
}

test('no file or folder of src may import the commands, which stand highest', () => {
  const names = readdirSync(join(ROOT, 'src'), { withFileTypes: true })
    .filter(({ name }) => name !== 'cli' && name !== 'native')
    .map((entry) => (entry.isDirectory() ? `src/${entry.name}/new.ts` : `src/${entry.name}`))
  const said = lint(Object.fromEntries(names.map((name) => [name, '../cli/main.ts'])))
  expect(Object.keys(said).sort()).toEqual(names.sort())
})

test('what stands lower, and what stands higher', () => {
  const higher = 'stands higher in the house'
  const said = lint({
    'src/model/router/new.ts': '../../graph/plan.ts',
    'src/model/new.ts': 'node:fs',
    'src/families/new.ts': '@tensorflow/tfjs-core',
    'src/train/new.ts': '../script/progress.ts',
    'bench/new.ts': '../src/cli/main.ts',
    'src/model/lower.ts': '../backend/backend.ts',
    'src/cli/lower.ts': '../../bench/index.ts',
  })
  expect(said).toEqual({
    'src/model/router/new.ts': higher,
    'src/model/new.ts': 'the model knows no files and no protobuf',
    'src/families/new.ts': 'a family knows no tensors',
    'src/train/new.ts': higher,
    'bench/new.ts': higher,
  })
})
