import { execFileSync } from 'node:child_process'
import { chmodSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemHost } from '../../src/device/host.ts'
import { readPrepared } from '../../src/device/prepared.ts'
import { prepareTensorflow } from '../../src/setup/setup.ts'
import { type FakeHost, fakeHost } from './fake-host.ts'
import { CPU_WHEEL } from './fake-wheel.ts'

/** Root reads everything, so questions of reading are asked as nobody where these tests run as root. */
const NOBODY = 65534
const isRoot = process.getuid?.() === 0

/** A host whose folder others can reach, as they can a folder of the system, with the cache some folders below it. */
function sharedHost(): FakeHost {
  const host = fakeHost()
  host.wheels = [CPU_WHEEL]
  chmodSync(host.folder, 0o755)
  host.env.TINYMOE_CACHE = join(host.folder, 'opt', 'lib', 'tinymoe')
  const { readRefusal } = systemHost()
  // The user is the whole process's, and two variants are asked for at once: one after the other.
  let turn: Promise<unknown> = Promise.resolve()
  host.readRefusal = (path) => {
    const asked = turn.then(async () => {
      if (isRoot) process.seteuid?.(NOBODY)
      try {
        return await readRefusal(path)
      } finally {
        if (isRoot) process.seteuid?.(0)
      }
    })
    turn = asked
    return asked
  }
  return host
}

/** Sets up as a user whose new files are for nobody else. */
async function setUpPrivately(host: FakeHost) {
  const before = process.umask(0o077)
  try {
    return await prepareTensorflow({}, host)
  } finally {
    process.umask(before)
  }
}

const below = (folder: string) => [
  folder,
  ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
]

describe('a cache that another user made', () => {
  test('is open to all, and so is the addon beside it, whatever the umask was', async () => {
    const host = sharedHost()
    await setUpPrivately(host)
    const paths = below(host.folder)
    for (const name of [
      'libtensorflow_cc.so.2',
      'manifest.json',
      'compiler.txt',
      'napi-v8/tfjs_binding.node',
    ]) {
      expect(paths.join()).toContain(name)
    }
    const closed = paths.filter((path) => {
      const entry = statSync(path)
      return (entry.mode & 0o444) !== 0o444 || (entry.isDirectory() && (entry.mode & 0o111) !== 0o111)
    })
    expect(closed).toEqual([])
    const asNobody = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
    const options = { ...asNobody, cwd: '/', encoding: 'utf8' as const }
    expect(execFileSync('find', [host.folder, '!', '-readable'], options)).toBe('')
    expect((await readPrepared(host)).cpu).toMatchObject({ problem: null })
  })

  test('is opened where an earlier version had closed it', async () => {
    const host = sharedHost()
    const { folder } = await prepareTensorflow({}, host)
    rmSync(join(folder, 'addon'), { recursive: true })
    chmodSync(folder, 0o700)
    await expect(prepareTensorflow({}, { ...host, readRefusal: async () => null })).resolves.toMatchObject({
      addon: true,
    })
    expect(statSync(folder).mode & 0o777).toBe(0o755)
  })

  test('serves without being written, when all is there', async () => {
    const host = sharedHost()
    const { folder } = await prepareTensorflow({}, host)
    const longAgo = new Date(0)
    for (const path of [dirname(folder), folder]) utimesSync(path, longAgo, longAgo)
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: false })
    for (const path of [dirname(folder), folder]) expect(statSync(path).mtime).toEqual(longAgo)
  })

  test.each<[string, (folder: string, addon: string) => string]>([
    ['folder', (folder) => folder],
    ['library', (folder) => join(folder, 'tensorflow', 'libtensorflow_framework.so.2')],
    ['addon', (_, addon) => addon],
  ])('that may not be read says so: %s', async (_what, which) => {
    const host = sharedHost()
    const { folder } = await prepareTensorflow({}, host)
    const { addon } = (await readPrepared(host)).cpu
    const closed = which(folder, addon!)
    chmodSync(closed, 0)
    onTestFinished(() => chmodSync(closed, 0o700))
    host.commands.length = 0

    const { cpu } = await readPrepared(host)
    expect(cpu.addon).toBeNull()
    expect(cpu.problem).toMatch(
      /: this user may not read it \(EACCES\): let its owner run `chmod -R a\+rX .*\/opt\/lib\/tinymoe`, or set TINYMOE_CACHE/,
    )
    expect(cpu.problem).toContain(closed)
    await expect(prepareTensorflow({}, host)).rejects.toThrow(cpu.problem!)
    expect(host.commands.join()).not.toMatch(/pip|c\+\+/)
  })

  test('that may not be written, where something is missing, says so', async () => {
    const host = sharedHost()
    // Links into a file system that takes no folders from anyone.
    const closed = join(host.folder, 'closed')
    symlinkSync('/sys', closed)
    host.env.TINYMOE_CACHE = join(closed, 'tinymoe')
    await expect(prepareTensorflow({}, host)).rejects.toThrow(
      /closed\/tinymoe: something is missing in this cache, and this user may not write it \(E\w+: .*\): let its owner run `tinymoe setup`, or set TINYMOE_CACHE/,
    )
  })
})
