import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { writeData, writeModels } from './data.ts'

/*
 * Builds the page as a folder for any host of static files: `build.ts [folder] [--without-models]`, by default dist/page. The
 * package has the models already, and its server finds them.
 */

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const PLACEHOLDER = /["'`]__FILES__["'`]/

/** The service worker keeps the page's own files; their content names the build. */
function listFiles(folder: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => statSync(join(folder, file)).isFile() && file !== 'service-worker.js')
    .sort()
  const hash = createHash('sha256')
  for (const file of files) hash.update(file).update(readFileSync(join(folder, file)))
  const kept = ['./', ...files.filter((file) => !file.startsWith('models/') && file !== 'index.html')]
  const path = join(folder, 'service-worker.js')
  const script = readFileSync(path, 'utf8')
  if (!PLACEHOLDER.test(script)) throw new Error(`${path}: has no ${PLACEHOLDER}`)
  const list = JSON.stringify({ build: hash.digest('hex').slice(0, 16), files: kept })
  writeFileSync(
    path,
    script.replace(PLACEHOLDER, () => list),
  )
}

const args = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const folder = resolve(args[0] ?? join(ROOT, 'dist/page'))
rmSync(folder, { recursive: true, force: true })
await build({ configFile: join(import.meta.dirname, 'vite.config.ts'), build: { outDir: folder } })
await writeData(folder)
if (!process.argv.includes('--without-models')) writeModels(folder)
listFiles(folder)
