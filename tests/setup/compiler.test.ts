import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { prepareTensorflow } from '../../src/setup/setup.ts'
import { type FakeHost, fakeHost, NOT_FOUND, OK, withCommands } from './fake-host.ts'
import { COMPILER_WHEEL, CPU_WHEEL, type FakeWheel, wheelBytes, wheelName, writeWheel } from './fake-wheel.ts'

const FETCHED = 'ziglang 0.17.1'
const NO_COMPILER = { 'c++': NOT_FOUND }

function readyHost(): FakeHost {
  const host = fakeHost()
  host.wheels = [CPU_WHEEL, COMPILER_WHEEL]
  return host
}

/** As `readyHost`, without a compiler, as in a slim image. */
const bareHost = () => withCommands(readyHost(), NO_COMPILER)

const cache = (host: FakeHost) => join(host.folder, 'cache')
const placed = (host: FakeHost) =>
  readFileSync(join(host.folder, 'node_modules/@tensorflow/tfjs-node/lib/napi-v8/tfjs_binding.node'), 'utf8')
const downloaded = (host: FakeHost) => host.commands.filter((line) => line.includes('pip download')).join()

/** Lets compiling fail from now on. */
function breakCompiler(host: FakeHost): void {
  const { run } = host
  host.run = async (command, args, options) =>
    args.includes('-shared') ? { ...OK, code: 1, stderr: 'error: broken' } : run(command, args, options)
}

/** An index that serves wheels to a machine without Python. */
function serve(host: FakeHost, wheels: FakeWheel[]): void {
  host.fetch = async (url) => {
    const bytes = wheels.find((wheel) => url.endsWith(wheelName(wheel)))
    if (bytes) return new Response(new Uint8Array(wheelBytes(bytes)))
    const files = wheels.map((wheel) => ({
      filename: wheelName(wheel),
      url: `https://files.example/${wheelName(wheel)}`,
      hashes: { sha256: createHash('sha256').update(wheelBytes(wheel)).digest('hex') },
    }))
    return new Response(JSON.stringify({ files }))
  }
}

describe('without a compiler', () => {
  test('one is fetched, called by its own binary, told of, and removed again', async () => {
    const host = bareHost()
    const { run } = host
    let whileCompiling: string[] = []
    host.run = async (command, args, options) => {
      if (args.includes('-shared')) {
        whileCompiling = readdirSync(dirname(command), { recursive: true, encoding: 'utf8' })
        expect(options?.env?.ZIG_GLOBAL_CACHE_DIR).toMatch(`${cache(host)}/unfinished-`)
      }
      return run(command, args, options)
    }
    const said: string[] = []
    const result = await prepareTensorflow(
      { onMessage: (text) => said.push(text), onProgress: ({ step }) => said.push(step) },
      host,
    )
    expect(result).toMatchObject({ addon: true, placed: true, compiled: true, compiler: FETCHED })
    expect(placed(host)).toMatch(/^addon c\+\+ -target x86_64-linux-gnu\.2\.27 -std=c\+\+17 .*-rpath/)
    expect(whileCompiling).toContain('lib/std/os/windows.zig')
    expect(whileCompiling).toContain('lib/libc/include/any-linux-any/errno.h')
    expect(whileCompiling.join()).not.toMatch(/any-windows-any|mingw/)
    expect(readdirSync(cache(host))).toEqual(['tensorflow-2.21.0-cpu'])
    expect([...new Set(said)]).toEqual([
      'downloading tensorflow-cpu 2.21.0 with pip',
      'unpacking tensorflow-cpu 2.21.0',
      `no C++ compiler was found (c++, g++, clang++): ${FETCHED} is fetched for this setup and removed again`,
      `downloading ${FETCHED} with pip`,
      `unpacking ${FETCHED}`,
      `compiling the addon with ${FETCHED}`,
    ])
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: false, compiler: FETCHED })
  })

  test('and without Python, straight from the index', async () => {
    const host = withCommands(bareHost(), { python3: NOT_FOUND })
    serve(host, [CPU_WHEEL, COMPILER_WHEEL])
    expect(await prepareTensorflow({}, host)).toMatchObject({ compiler: FETCHED, placed: true })
  })

  test('or from a given file', async () => {
    const host = bareHost()
    const wheels = [CPU_WHEEL, COMPILER_WHEEL].map((wheel) => writeWheel(join(host.folder, 'given'), wheel))
    expect(await prepareTensorflow({ wheels }, host)).toMatchObject({ compiler: FETCHED })
    expect(downloaded(host)).toBe('')
    expect(wheels.every(existsSync)).toBe(true)
  })

  test('where none can be fetched either, both causes are said; the libraries stay for the next try', async () => {
    const host = bareHost()
    host.wheels = [CPU_WHEEL]
    await expect(prepareTensorflow({}, host)).rejects.toThrow(
      /^no C\+\+ compiler was found.*: install one, such as .*; nor could one be fetched \(cannot download ziglang 0\.17\.1: pip: No matching.*ENOTFOUND.*\)$/,
    )
    host.wheels = [COMPILER_WHEEL]
    expect(await prepareTensorflow({}, host)).toMatchObject({ compiler: FETCHED })
  })

  test('a damaged one is refused, and not kept', async () => {
    const host = bareHost()
    host.wheels = [CPU_WHEEL, { ...COMPILER_WHEEL, damaged: ['ziglang/zig'] }]
    await expect(prepareTensorflow({}, host)).rejects.toThrow(/ziglang\/zig has sha256 .* RECORD says/)
    expect(readdirSync(join(cache(host), 'downloads'))).toEqual([])
    expect(readdirSync(cache(host)).filter((name) => name.startsWith('unfinished'))).toEqual([])
  })

  test('the disk has room for both, or nothing is begun', async () => {
    const host = bareHost()
    host.freeBytes = async () => 1.5e9
    await expect(prepareTensorflow({}, host)).rejects.toThrow(
      /has 1\.5 GB free, and the cpu variant with a fetched compiler needs 1\.8 GB/,
    )
    expect(downloaded(host)).toBe('')
  })

  test('--compiler system says so before anything is downloaded', async () => {
    const host = bareHost()
    await expect(prepareTensorflow({ compiler: 'system' }, host)).rejects.toThrow(
      /^no C\+\+ compiler was found \(c\+\+, g\+\+, clang\+\+\): install one/,
    )
    expect(downloaded(host)).toBe('')
  })
})

describe('with a compiler', () => {
  test('--compiler says whose the addon is to be made by: another one compiles again, and downloads nothing else', async () => {
    const host = withCommands(readyHost(), {})
    expect(await prepareTensorflow({}, host)).toMatchObject({ compiler: 'c++' })
    expect(await prepareTensorflow({ compiler: 'system' }, host)).toMatchObject({ changed: false })
    host.commands.length = 0
    expect(await prepareTensorflow({ compiler: 'fetch' }, host)).toMatchObject({
      compiled: true,
      compiler: FETCHED,
    })
    expect(downloaded(host)).toMatch(/^[^,]*ziglang==0\.17\.1$/)
    for (const compiler of ['fetch', undefined] as const) {
      expect(await prepareTensorflow({ compiler }, host)).toMatchObject({ changed: false, compiler: FETCHED })
    }
    expect(await prepareTensorflow({ compiler: 'system' }, host)).toMatchObject({ compiler: 'c++' })
  })

  test('CXX is one of this machine, and is known by its version', async () => {
    const host = withCommands(readyHost(), { 'my-c++': { ...OK, stdout: 'my-c++ 1.2\nmore\n' } })
    const { run } = host
    host.run = async (command, args, options) =>
      run(command === 'my-c++' && args.includes('-shared') ? 'c++' : command, args, options)
    host.env.CXX = 'my-c++'
    expect(await prepareTensorflow({ compiler: 'system' }, host)).toMatchObject({ compiler: 'my-c++ 1.2' })
  })

  test('one that fails in --force leaves the addon that works, of this checkout and of others', async () => {
    const host = readyHost()
    const { folder } = await prepareTensorflow({}, host)
    const before = readdirSync(join(folder, 'addon'), { recursive: true })
    breakCompiler(host)
    await expect(prepareTensorflow({ force: true }, host)).rejects.toThrow(
      /c\+\+ cannot compile.*broken; the addon that was there stays$/,
    )
    expect(downloaded(host)).toMatch(/tensorflow-cpu.*tensorflow-cpu/)
    expect(readdirSync(join(folder, 'addon'), { recursive: true })).toEqual(before)
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: false, addon: true, placed: true })
  })

  test('so does one that makes nothing, and one whose addon cannot be loaded; each is named', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    const { run } = host
    host.env.CXX = 'true'
    host.run = async (command, args, options) => (command === 'true' ? OK : run(command, args, options))
    await expect(prepareTensorflow({ force: true }, host)).rejects.toThrow(
      'true ended without an error and made no addon: it is no C++ compiler; the addon that was there stays',
    )
    delete host.env.CXX
    host.run = async (command, args, options) =>
      command === process.execPath
        ? { ...OK, code: 1, stderr: 'node:internal\n\nError: x.node: undefined symbol: f\n    at x' }
        : run(command, args, options)
    await expect(prepareTensorflow({ force: true }, host)).rejects.toThrow(
      'the addon that c++ made cannot be loaded: Error: x.node: undefined symbol: f',
    )
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: false, addon: true, placed: true })
  })
})
