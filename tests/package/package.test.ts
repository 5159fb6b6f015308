import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addCommands, COMMANDS } from '../../src/cli/commands.ts'
import { readConfig } from '../../src/load-model.ts'
import { mixturesOf } from '../../src/model/config.ts'
import { bundledModels } from '../../src/package.ts'
import { exitCodeOf } from '../../src/signals.ts'
import type { OfferedModel } from '../../src/web/build/site.ts'
import { REPOSITORY } from '../cli/run-cli.ts'
import { type CodeBlock, codeBlocks, pages } from './code-blocks.ts'
import { NODES, type Tried, tryCommands } from './commands.ts'
import { freshProject, pack, run, temporaryFolder } from './fresh-project.ts'

/*
 * The package as other projects get it. TINYMOE_TEST_NODES=/path/to/node:/path/to/node runs the test file of
 * docs/testing.md and the commands under other versions of Node too; `npm run test:nodes` fetches some for it.
 */
const POOLS = ['forks', 'threads']
const TESTING = 'docs/testing.md'
/** Fails where TensorFlow does not work, and takes nothing else. */
const NATIVE = { TINYMOE_DEVICE: 'cpu' }

/** The machine may be busy with other tests. */
const PATIENTLY = ['--test-timeout', '170000', '--hook-timeout', '170000']

const { folder, dispose } = temporaryFolder()
afterAll(dispose)
const project = join(folder, 'project')
const installed = join(project, 'node_modules/tinymoe')
const bin = (name: string) => join(REPOSITORY, 'node_modules/.bin', name)

beforeAll(async () => {
  const built = join(folder, 'built')
  const build = await run(process.execPath, ['--import', 'tsx', 'packaging/build.ts', built], REPOSITORY)
  expect(build).toEqual({ code: 0, stdout: '', stderr: '' })
  await freshProject(await pack(built, folder), project)
  for (const { file, code } of codeBlocks(TESTING)) if (file) writeFileSync(join(project, file), code)
}, 600_000)

const blocks = pages().flatMap(codeBlocks)
const typescript = blocks.filter(({ language }) => /^(ts|typescript|tsx)$/.test(language))

/** The blocks of a page that are no file of their own make one program, in their order. */
function programOf(page: string): string {
  return typescript
    .filter((block) => block.page === page && !block.file)
    .map(({ code }) => code)
    .join('')
}

/** Each page's program, where it has one; modules of the checkout are named by their whole path. */
const PROGRAMS = Object.fromEntries(
  pages().flatMap((page) => {
    const code = programOf(page).replaceAll("'./src/", `'${REPOSITORY}src/`)
    return code ? [[page, code]] : []
  }),
)

function isPackaged(code: string): boolean {
  return /from 'tinymoe/.test(code)
}

test('the TypeScript of README and docs is in these programs and files', () => {
  expect(Object.keys(PROGRAMS)).toEqual(['README.md', 'docs/corpus.md'])
  const files = typescript.flatMap(({ file }: CodeBlock) => file ?? [])
  expect(files).toEqual(['router.test.ts'])
})

describe('types', () => {
  const RESOLUTIONS = [
    ['--module', 'node16', '--moduleResolution', 'node16'],
    ['--module', 'nodenext', '--moduleResolution', 'nodenext'],
    ['--module', 'esnext', '--moduleResolution', 'bundler'],
  ]
  const program = join(project, 'readme.ts')

  beforeAll(() => {
    writeFileSync(program, PROGRAMS['README.md'])
    // what is null without a trace, and what is not
    writeFileSync(
      join(project, 'trace.ts'),
      `import { type GreedyResult, type LoadedModel, type RouteContext, type RouterValue, type RoutingTrace, type TraceRow } from 'tinymoe'
export function typed(model: LoadedModel, trace: boolean): TraceRow | undefined {
  const plain: RoutingTrace | null = model.forward([1], { trace }).trace
  // @ts-expect-error: nobody asked for it
  const none: RoutingTrace = model.forward([1]).trace
  const greedy: GreedyResult & { trace: RoutingTrace } = model.greedy([1], { trace: { hiddenStates: true } })
  const context: RouteContext = {}
  const value: RouterValue | undefined = undefined
  return plain && none && context && value ? undefined : greedy.trace.rows[0]
}
`,
    )
  })

  test.each(RESOLUTIONS)('strict, %s %s %s %s', async (...flags) => {
    expect(await run(bin('tsc'), ['-p', '.', ...flags], project)).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  test.each(RESOLUTIONS)(
    'without skipLibCheck only tfjs and what it brings have errors, %s %s %s %s',
    async (...flags) => {
      const check = await run(bin('tsc'), ['-p', '.', '--skipLibCheck', 'false', ...flags], project)
      const files = check.stdout
        .split('\n')
        .flatMap((line) => /^(\S+)\(\d+,\d+\): error /.exec(line)?.[1] ?? [])
      const packages = new Set(
        files.map((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? file),
      )
      packages.delete('@typescript/typescript-linux-x64') // lib.dom, which @webgpu/types declares once more
      expect([...packages].sort()).toEqual(['@tensorflow/tfjs-core', '@webgpu/types'])
    },
  )

  test.each(Object.entries(PROGRAMS).filter(([, code]) => !isPackaged(code)))(
    '%s, with modules of the checkout',
    async (_, code) => {
      const own = join(folder, 'checkout-program')
      mkdirSync(own, { recursive: true })
      writeFileSync(join(own, 'program.ts'), code)
      writeFileSync(join(own, 'package.json'), '{ "type": "module" }')
      const config = {
        extends: join(REPOSITORY, 'tsconfig.json'),
        include: ['program.ts'],
        compilerOptions: {
          typeRoots: [join(REPOSITORY, 'node_modules/@types')],
          rewriteRelativeImportExtensions: false, // their paths are whole here
        },
      }
      writeFileSync(join(own, 'tsconfig.json'), JSON.stringify(config))
      expect(await run(bin('tsc'), ['-p', own], REPOSITORY)).toEqual({ code: 0, stdout: '', stderr: '' })
      const tsx = import.meta.resolve('tsx')
      const { code: exit, stderr } = await run(process.execPath, ['--import', tsx, 'program.ts'], own)
      expect([exit, stderr]).toEqual([0, ''])
    },
  )
})

describe("README's program", () => {
  const code = PROGRAMS['README.md']

  test.each(bundledModels())('with %s', async (name) => {
    const file = join(project, `readme-${name}.mts`)
    writeFileSync(file, code.replace("'tinymoe:moe'", `'tinymoe:${name}'`))
    const {
      code: exit,
      stdout,
      stderr,
    } = await run(process.execPath, ['--import', 'tsx', file], project, NATIVE)
    const routers = mixturesOf(readConfig(name).config.layers).length
    expect(stdout.match(/^top-k /gm)?.length ?? 0).toBe(routers)
    if (routers > 0) expect([exit, stderr]).toEqual([0, ''])
    else expect(stderr).toContain('InputError: interventions: every layer is dense, so none has a router')
  })
})

describe(TESTING, () => {
  const cases = NODES.flatMap((node) => POOLS.map((pool) => [node, pool]))

  test.each(cases)('its test file passes under %s, --pool %s', async (node, pool) => {
    const vitest = join(project, 'node_modules/vitest/vitest.mjs')
    const { code, stdout, stderr } = await run(
      node,
      [vitest, 'run', '--pool', pool, ...PATIENTLY],
      project,
      NATIVE,
    )
    expect(`${stdout}${stderr}`).toMatch(/^ +Tests {2}7 passed \(7\)$/m)
    expect(code).toBe(0)
  })

  test('the message that it shows is the one of that failure', async () => {
    const [, call, shown] = /`(toChooseExperts[^`]+)`:\n\n((?: {4}.*\n|\n)+)/.exec(
      readFileSync(join(REPOSITORY, TESTING), 'utf8'),
    )!
    writeFileSync(
      join(project, 'message.spec.ts'),
      `import { loadModel } from 'tinymoe'
import 'tinymoe/vitest'
import { expect, test } from 'vitest'
test('fails', async () => {
  const model = await loadModel('tinymoe:moe')
  const { logits, trace } = model.forward(await model.tokenizer!.encode('47+85:'), { trace: true })
  logits.dispose()
  expect(trace).${call}
})
`,
    )
    const { stdout, stderr } = await run(
      bin('vitest'),
      ['run', 'message.spec.ts', ...PATIENTLY],
      project,
      NATIVE,
    )
    expect(`${stdout}${stderr}`.replace(/ +$/gm, '')).toContain(shown.replace(/^ {4}/gm, '').trim())
  })
})

describe('the commands', () => {
  let first: Tried

  test.each(NODES)(
    'work under %s without a warning, and print what they print under the others',
    async (node) => {
      const tried = await tryCommands(node, join(installed, 'src/cli/main.js'), project)
      expect(tried.complaints).toEqual({})
      expect(Object.values(tried.printed).filter((text) => text === '')).toEqual([])
      first ??= tried
      expect(tried.printed).toEqual(first.printed)
    },
    600_000,
  )
})

describe('what is in it', () => {
  test('the commands, the models, and the docs that README and --help name', async () => {
    let help = readFileSync(join(REPOSITORY, 'src/cli/main.ts'), 'utf8') // its text is printed as it is there
    for (const name of Object.keys(COMMANDS)) {
      const program = new Command('tinymoe')
      await addCommands(program, [name])
      program.commands[0].configureOutput({ writeOut: (text) => (help += text) }).outputHelp()
    }
    const named = help.match(/\b(docs|bench|models)\/[\w./-]*\w/g) ?? []
    const linked = pages().flatMap((page) =>
      [...readFileSync(join(REPOSITORY, page), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target]) => target.replace(/#.*/, ''))
        .filter((target) => target !== '' && !/^\w+:/.test(target))
        .map((target) => join(dirname(page), target)),
    )
    expect(new Set([...named, ...linked]).size).toBeGreaterThan(20)
    expect([...named, ...linked].filter((path) => !existsSync(join(installed, path)))).toEqual([])
  })

  test('the command runs, with bundled models by name', async () => {
    const command = join(installed, 'src/cli/main.js')
    const printed = await run(command, ['trace', 'moe', '--tokens', '1,49', '--json'], project, NATIVE)
    expect([printed.code, printed.stderr]).toEqual([0, ''])
    expect(JSON.parse(printed.stdout).layers).toHaveLength(4)
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'the page is in it, served until %s',
    async (signal) => {
      const server = spawn(
        join(installed, 'src/cli/main.js'),
        ['page', 'deepseek', '--port', '0', '--json'],
        {
          cwd: project,
          stdio: ['ignore', 'pipe', 'ignore'],
        },
      )
      const ended = new Promise((resolve) => server.on('close', resolve))
      const [line] = await once(createInterface(server.stdout), 'line')
      const { url } = JSON.parse(line)
      const page = await fetch(url)
      expect([page.status, await page.text()]).toEqual([
        200,
        expect.stringContaining('<script type="module"'),
      ])
      const models = (await (await fetch(`${url}models/index.json`)).json()) as OfferedModel[]
      expect(models.map(({ name }) => name)).toEqual(['deepseek', 'moe', 'dense-active', 'moe-facts'])
      const weights = await fetch(`${url}${models[0].url}/model.safetensors`, { method: 'HEAD' })
      expect(weights.headers.get('content-length')).toBe(String(models[0].bytes))
      server.kill(signal)
      expect(await ended).toBe(exitCodeOf(signal))
    },
  )

  test('its package.json has no scripts and nothing for development', () => {
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
    expect(manifest).not.toHaveProperty('scripts')
    expect(manifest).not.toHaveProperty('devDependencies')
    const root = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8'))
    expect(Object.keys(manifest.exports)).toEqual(Object.keys(root.exports))
    for (const entry of Object.values<string | Record<string, string>>(manifest.exports)) {
      for (const path of typeof entry === 'string' ? [entry] : Object.values(entry)) {
        expect(existsSync(join(installed, path)), path).toBe(true)
      }
    }
  })
})

test('a plain npm pack says in one sentence that it has no code, when run and when imported', async () => {
  const other = join(folder, 'plain')
  mkdirSync(join(other, 'packed'), { recursive: true })
  await freshProject(await pack('.', join(other, 'packed')), other)
  const sentence =
    'tinymoe: there is no built code here: `npm run package` in a checkout writes a package that has it, and `npm run -s tinymoe -- <command>` runs the checkout itself'
  const entry = join(
    other,
    'node_modules/tinymoe',
    JSON.parse(readFileSync(join(other, 'node_modules/tinymoe/package.json'), 'utf8')).bin.tinymoe,
  )
  expect(await run(entry, ['trace', 'moe'], other)).toEqual({ code: 1, stdout: '', stderr: `${sentence}\n` })
  for (const name of ['tinymoe', 'tinymoe/vitest']) {
    const code = `import('${name}').catch(({ message }) => console.log(message))`
    expect(await run(process.execPath, ['-e', code], other)).toEqual({
      code: 0,
      stdout: `${sentence}\n`,
      stderr: '',
    })
  }
})
