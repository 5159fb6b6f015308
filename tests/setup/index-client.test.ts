import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseWheelName } from '../../src/setup/index-client.ts'
import { prepareTensorflow } from '../../src/setup/setup.ts'
import { type FakeHost, fakeHost, NOT_FOUND, withCommands } from './fake-host.ts'
import { CPU_WHEEL, wheelBytes, wheelName } from './fake-wheel.ts'

const WHEEL = wheelBytes(CPU_WHEEL)
const NAME = wheelName(CPU_WHEEL)
const FILE = {
  filename: NAME,
  url: `https://files.example/${NAME}`,
  hashes: { sha256: createHash('sha256').update(WHEEL).digest('hex') },
  size: WHEEL.length,
}

interface Served {
  page?: unknown
  status?: number
  wheel?: Buffer
  /** Cuts each answer after so many bytes, by a broken connection. */
  cutAfter?: number
  ranges?: boolean
}

/** A machine without Python, for which an index is played; `requests` are the ranges asked of the wheel's server. */
function hostWithIndex({ page, status, wheel = WHEEL, cutAfter, ranges = true }: Served = {}) {
  const host = withCommands(fakeHost(), { python3: NOT_FOUND, python: NOT_FOUND })
  const requests: string[] = []
  host.fetch = async (url, init) => {
    if (!url.includes('files.example'))
      return new Response(JSON.stringify(page ?? { files: [FILE] }), { status })
    const range = new Headers(init?.headers).get('range') ?? ''
    requests.push(range)
    const from = ranges ? Number(/bytes=(\d+)/.exec(range)?.[1] ?? 0) : 0
    return new Response(stream(wheel.subarray(from), cutAfter), { status: from > 0 ? 206 : 200 })
  }
  return { host, requests }
}

function stream(bytes: Buffer, cutAfter = bytes.length): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(bytes.subarray(0, cutAfter)))
    },
    pull(controller) {
      if (cutAfter < bytes.length) controller.error(new TypeError('terminated'))
      else controller.close()
    },
  })
}

const downloads = (host: FakeHost) => join(host.folder, 'cache', 'downloads')

test('without Python the wheel comes straight from the index', async () => {
  const { host, requests } = hostWithIndex()
  expect(await prepareTensorflow({}, host)).toMatchObject({ addon: true })
  expect(requests).toEqual([''])
})

test('a pip that fails is followed by the index', async () => {
  const { host } = hostWithIndex()
  const { run } = host
  host.run = async (command, args) =>
    command === 'python3'
      ? { code: Number(args.includes('download')), stdout: '', stderr: 'ERROR: no' }
      : run(command, args)
  expect(await prepareTensorflow({}, host)).toMatchObject({ addon: true })
})

test('a broken connection is continued where it broke', async () => {
  const { host, requests } = hostWithIndex({ cutAfter: Math.ceil(WHEEL.length / 3) })
  expect(await prepareTensorflow({}, host)).toMatchObject({ addon: true })
  expect(requests).toHaveLength(3)
  expect(requests[1]).toBe(`bytes=${Math.ceil(WHEEL.length / 3)}-`)
})

test.each([true, false])(
  'what an earlier setup left is continued; server knows ranges: %s',
  async (ranges) => {
    const { host, requests } = hostWithIndex({ ranges })
    mkdirSync(downloads(host), { recursive: true })
    writeFileSync(join(downloads(host), `${NAME}.part`), WHEEL.subarray(0, 100))
    expect(await prepareTensorflow({}, host)).toMatchObject({ addon: true })
    expect(requests).toEqual(['bytes=100-'])
  },
)

test('progress counts bytes up to the size that the index names', async () => {
  const { host } = hostWithIndex()
  const seen: unknown[] = []
  await prepareTensorflow({ onProgress: (progress) => seen.push(progress) }, host)
  const step = 'downloading tensorflow-cpu 2.21.0 from pypi.org'
  expect(seen).toContainEqual({ step, done: WHEEL.length, total: WHEEL.length })
})

describe('failures', () => {
  const fails = async (served: Served, message: RegExp) => {
    const { host } = hostWithIndex(served)
    await expect(prepareTensorflow({ variant: 'cpu' }, host)).rejects.toThrow(message)
    return host
  }

  test('a corrupt download is refused and not kept', async () => {
    const host = await fails(
      { wheel: Buffer.from('x'.repeat(WHEEL.length)) },
      /has sha256 .*, the index says .*again/,
    )
    expect(readdirSync(downloads(host))).toEqual([])
  })

  test('a connection that keeps breaking', async () => {
    const host = await fails({ cutAfter: 10 }, /cannot download tensorflow-cpu 2\.21\.0: terminated/)
    expect(existsSync(join(downloads(host), `${NAME}.part`))).toBe(true)
  })

  test.each<[string, Served, RegExp]>([
    [
      'an index that answers with an error',
      { status: 503 },
      /pypi\.org\/simple\/tensorflow-cpu\/: answered 503/,
    ],
    ['a page of another form', { page: { nothing: 1 } }, /no project page/],
    [
      'an index without this wheel',
      { page: { files: [] } },
      /has no wheel of 2\.21\.0 for manylinux_2_27_x86_64/,
    ],
    ['a wheel that was withdrawn', { page: { files: [{ ...FILE, yanked: 'broken' }] } }, /has no wheel/],
  ])('%s', async (_case, served, message) => {
    await fails(served, message)
  })
})

test.each([
  [
    'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    'tensorflow-cpu',
    '2.21.0',
    ['manylinux_2_27_x86_64'],
  ],
  ['a.b-1.0-2-py3-none-any.whl', 'a-b', '1.0', ['any']],
  [
    'n-2.0-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    'n',
    '2.0',
    ['manylinux2014_x86_64', 'manylinux_2_17_x86_64'],
  ],
])('%s', (name, project, version, platforms) => {
  expect(parseWheelName(name)).toMatchObject({ project, version, platforms })
})

test('other names are no wheels', () => {
  expect(parseWheelName('tensorflow-2.21.0.tar.gz')).toBeNull()
})
