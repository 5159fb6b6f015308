import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertThat } from './checks.ts'
import { InputError } from './errors.ts'

/** Before the name of a bundled model, where a directory is expected. */
const BUNDLED = 'tinymoe:'

/** The folder of tinymoe's package.json: of a checkout, or of the installed package. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}

/** Bundled models that the page offers, the first at once. */
export const PAGE_MODELS = ['moe', 'dense-active', 'deepseek', 'moe-facts'] as const

/** Names of the models that come with the package. */
export function bundledModels(): string[] {
  const models = join(packageRoot(), 'models')
  return readdirSync(models).filter((name) => existsSync(join(models, name, 'config.json')))
}

/**
 * The directory of a bundled model: of `tinymoe:moe`, or of `moe` where nothing of that name lies in the current folder. Null
 * for every other name.
 * @throws InputError for `tinymoe:` before a name that no bundled model has
 */
export function bundledDirectory(name: string): string | null {
  const explicit = name.startsWith(BUNDLED)
  if (!explicit && existsSync(name)) return null
  const own = explicit ? name.slice(BUNDLED.length) : name
  const names = bundledModels()
  if (names.includes(own)) return join(packageRoot(), 'models', own)
  if (explicit) throw new InputError(`${name}: no bundled model of that name; there are ${names.join(', ')}`)
  return null
}

/**
 * The directory that a model's name stands for, bundled or a path; a path is given back as it is.
 * @throws InputError for a name that is neither
 */
export function modelDirectory(name: string): string {
  const isName = typeof name === 'string' && name !== ''
  assertThat('model', name, isName, 'a directory, or a bundled model such as tinymoe:moe')
  const bundled = bundledDirectory(name)
  if (bundled !== null || existsSync(name) || /[/\\]/.test(name)) return bundled ?? name
  throw new InputError(
    `${name}: no such directory, and no bundled model of that name; there are ${bundledModels().join(', ')}`,
  )
}
