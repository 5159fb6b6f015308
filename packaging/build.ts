import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundledModels } from '../src/package.ts'

/*
 * Writes the package as a folder that npm packs: `build.ts [folder]`, by default dist. Its files lie as in a checkout, with
 * JavaScript and declarations where that has TypeScript, so what is found by its place is found in both.
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** What people run and import, by the module that it is made of. */
const COMMAND = 'src/cli/main'
const MODULES = { '.': 'src/index', './browser': 'src/browser', './vitest': 'src/vitest/index' }

/** What goes into the package as it is. */
function copied(): string[] {
  const of = (folder: string, pattern: RegExp) =>
    readdirSync(join(ROOT, folder)).flatMap((name) => (pattern.test(name) ? [`${folder}/${name}`] : []))
  return [
    'README.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'LICENSE',
    'SECURITY.md',
    'src/native',
    'src/cost/published.json',
    ...bundledModels().map((name) => `models/${name}`),
    ...['src/corpus', 'src/corpus/facts', 'src/corpus/story', 'src/train'].flatMap((folder) =>
      of(folder, /\.json$/),
    ),
    ...of('src/trace/page', /\.(js|css)$/),
    ...of('docs', /\.(md|svg|json|png|webp)$/),
    ...of('bench/report', /\.css$/),
    ...of('bench/peers', /\.py$/),
    ...of('bench/results', /\.md$/),
  ]
}

/** The checkout's package.json without what only a checkout needs. */
function manifest(): object {
  const { scripts, devDependencies, files, ...kept } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  )
  const modules = Object.entries(MODULES).map(([name, path]) => [
    name,
    { types: `./${path}.d.ts`, default: `./${path}.js` },
  ])
  return {
    ...kept,
    bin: { tinymoe: `${COMMAND}.js` },
    exports: { ...kept.exports, ...Object.fromEntries(modules) },
  }
}

/** The page, whose server finds the models where the package has them. */
function buildPage(folder: string): void {
  const args = ['--import', 'tsx', 'src/web/build/build.ts', folder, '--without-models']
  execFileSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
}

const folder = resolve(process.argv[2] ?? join(ROOT, 'dist'))
rmSync(folder, { recursive: true, force: true })
execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', folder], {
  cwd: ROOT,
  stdio: 'inherit',
})
chmodSync(join(folder, `${COMMAND}.js`), 0o755)
for (const path of copied()) cpSync(join(ROOT, path), join(folder, path), { recursive: true })
buildPage(join(folder, 'page'))
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`)
