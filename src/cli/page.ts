import { existsSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { InputError } from '../errors.ts'
import { readConfig } from '../load-model.ts'
import { modelDirectory, PAGE_MODELS, packageRoot } from '../package.ts'
import { wholeNumber } from '../script/arguments.ts'
import { addFlags, allOptions, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { remark, write } from '../script/output.ts'
import { type Served, serve } from '../script/static-server.ts'

const DEFAULT_PORT = 8017
/** Of this machine's network. */
const MAX_PORT = 65_535

const EXAMPLES = `
The page runs the model in the browser, on WebAssembly; nothing leaves the machine. docs/page.md says what it shows.

Examples:
  $ tinymoe page
  $ tinymoe page models/deepseek
  $ tinymoe page --port 0
`

const FLAGS = flags({
  port: [
    '<n>',
    'where to listen on this machine, 0 for any that is free',
    wholeNumber(0, MAX_PORT),
    DEFAULT_PORT,
  ],
})
type Flags = Given<typeof FLAGS> & GlobalOptions

export function register(program: Command): void {
  addFlags(program.command('page'), FLAGS)
    .description('Serves a page that runs a model in the browser and shows how its routers decide.')
    .argument('[model]', 'Hugging Face directory or a bundled model to begin with; default: moe')
    .addHelpText('after', EXAMPLES)
    .action((model: string | undefined, _: unknown, self: Command) => runPage(model, allOptions<Flags>(self)))
}

async function runPage(model: string | undefined, { port, json }: Flags): Promise<void> {
  const served = servedFor(model)
  const { url } = await serve(served, port)
  await write(json ? `${JSON.stringify({ url })}\n` : `${url}\n`)
  remark('[open it in a browser; Ctrl-C ends]')
}

/** The built page, the bundled models, and the one that was asked for. @throws ConfigError, InputError */
function servedFor(model: string | undefined): Served {
  const folder = builtPage()
  const own = model === undefined ? null : modelDirectory(model)
  if (own !== null) readConfig(own) // one that cannot run is told here
  const bundled = PAGE_MODELS.map((name) => ({ name, folder: modelDirectory(`tinymoe:${name}`) }))
  const isBundled = bundled.some((each) => own !== null && resolve(own) === each.folder)
  const models = [
    ...(own !== null && !isBundled
      ? [{ name: basename(resolve(own)), folder: resolve(own), id: 'own' }]
      : []),
    ...bundled.map((each) => ({ ...each, id: each.name })),
  ]
  if (isBundled)
    models.sort((a, b) => Number(b.folder === resolve(own!)) - Number(a.folder === resolve(own!)))
  const offered = models.map(({ id, name, folder: at }) => ({
    id,
    name,
    url: `models/${id}`,
    bytes: weightBytes(at),
  }))
  return {
    '/': { folder },
    '/models/index.json': { text: JSON.stringify(offered) },
    ...Object.fromEntries(models.map(({ id, folder: at }) => [`/models/${id}/`, { folder: at }])),
  }
}

/** Null for a model of several files, whose sizes the index does not say. */
function weightBytes(folder: string): number | null {
  return statSync(join(folder, 'model.safetensors'), { throwIfNoEntry: false })?.size ?? null
}

/** In the package beside its package.json; in a checkout where `npm run page:build` puts it. */
function builtPage(): string {
  const places = ['page', 'dist/page'].map((place) => join(packageRoot(), place))
  const found = places.find((place) => existsSync(join(place, 'index.html')))
  if (found) return found
  throw new InputError(
    'page: is not built, run `npm run page:build` (or `npm run page`, which also serves it)',
  )
}
