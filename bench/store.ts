import { accessSync, constants, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { InputError, messageOf } from '../src/errors.ts'
import { makeFolder, writeAtomically } from '../src/files.ts'
import { modelDirectory, packageRoot } from '../src/package.ts'
import { benchCsv } from './report/csv.ts'
import { evaluationsIn } from './report/evaluations.ts'
import { markdown } from './report/markdown.ts'
import type { BenchReport } from './schema.ts'

/** The model that comes with the package. */
const BUNDLED_MODEL = 'moe'

export function bundledModel(): string {
  return modelDirectory(`tinymoe:${BUNDLED_MODEL}`)
}

/**
 * Where reports go: the checkout's bench/results. An installed package, and a checkout that may not be written to, leave
 * them in `tinymoe-results` in the current folder.
 */
export function defaultResultsFolder(root = packageRoot()): string {
  const inCheckout = join(root, 'bench', 'results')
  try {
    accessSync(join(root, 'tsconfig.json')) // which no package has
    accessSync(inCheckout, constants.W_OK)
    return inCheckout
  } catch {
    return resolve('tinymoe-results')
  }
}

/** A preset but the default one, and a type but float32, is in the name, so that a quick report does not replace the careful one. */
export function reportName({ conditions }: BenchReport): string {
  const { preset, runtime, dtype } = conditions
  const parts = [
    runtime.device,
    ...(preset === 'default' ? [] : [preset]),
    ...(dtype === 'float32' ? [] : [dtype]),
  ]
  return parts.join('-')
}

function partOf(report: BenchReport, folder: string): string {
  return join(folder, `${reportName(report)}.part.json`)
}

/** Keeps what is known so far beside the reports until the whole one is stored. A folder that takes none is told of at the end. */
export function storePart(report: BenchReport, folder: string): void {
  try {
    makeFolder(folder)
    writeAtomically(partOf(report, folder), `${JSON.stringify(report, null, 1)}\n`)
  } catch {}
}

/**
 * Writes the report as JSON, Markdown, CSV and a page, each whole or not at all. The page shows the evaluations
 * (`eval-*.json`) that lie in the folder too. Gives the paths, or why they could not be written.
 */
export async function storeReport(
  report: BenchReport,
  folder: string,
): Promise<{ files: string[]; failure: InputError | null }> {
  const base = join(folder, reportName(report))
  // Drawing takes a second to load, which no other command should pay for.
  const { benchPage } = await import('./report/page.ts')
  try {
    makeFolder(folder)
    const files = {
      [`${base}.json`]: `${JSON.stringify(report, null, 1)}\n`,
      [`${base}.md`]: markdown(report),
      [`${base}.csv`]: benchCsv(report),
      [`${base}.html`]: benchPage(report, evaluationsIn(folder)),
    }
    for (const [path, text] of Object.entries(files)) writeAtomically(path, text)
    rmSync(partOf(report, folder), { force: true })
    return { files: Object.keys(files), failure: null }
  } catch (error) {
    const sentence = `${folder}: the report cannot be written there (${messageOf(error)}); --out names another folder`
    return { files: [], failure: new InputError(sentence) }
  }
}
