import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readPrepared } from '../../src/device/prepared.ts'
import { inspectSetup, prepareTensorflow } from '../../src/setup/setup.ts'
import { type FakeHost, fakeHost, fileInTheWay, OK, withCommands } from './fake-host.ts'
import { CPU_WHEEL, CUDA_WHEEL, NVIDIA_WHEELS, writeWheel } from './fake-wheel.ts'

const GPU = { ...OK, stdout: '0, GPU-a, NVIDIA H100, 81559, 550.54.15, 9.0\n' }

function readyHost(): FakeHost {
  const host = fakeHost()
  host.wheels = [CPU_WHEEL, CUDA_WHEEL, ...NVIDIA_WHEELS]
  return host
}

const cpuFolder = (host: FakeHost) => join(host.folder, 'cache', 'tensorflow-2.21.0-cpu')
const placed = (host: FakeHost, name = 'tfjs-node') =>
  join(host.folder, 'node_modules', '@tensorflow', name, 'lib', 'napi-v8', 'tfjs_binding.node')

describe('the cpu variant', () => {
  test('keeps the libraries and C headers, compiles the addon against them, and places it', async () => {
    const host = readyHost()
    const result = await prepareTensorflow({}, host)

    expect(result).toMatchObject({
      variant: 'cpu',
      changed: true,
      libraries: true,
      addon: true,
      placed: true,
    })
    const kept = readdirSync(cpuFolder(host), { recursive: true }).map(String)
    expect(kept).toContain('tensorflow/libtensorflow_cc.so.2')
    expect(kept).toContain('tensorflow/include/tensorflow/c/c_api.h')
    expect(kept.join()).not.toMatch(/keras|external/)
    const compiled = readFileSync(placed(host), 'utf8')
    expect(compiled).toContain(`-Wl,-rpath,${cpuFolder(host)}/tensorflow`)
    const [header] = /(?<=-include )\S+/.exec(compiled) ?? []
    expect(readFileSync(String(header), 'utf8')).toContain('tinymoe_session_functions()')
    expect(readdirSync(join(host.folder, 'cache'))).toEqual(['tensorflow-2.21.0-cpu'])
    expect((await readPrepared(host)).cpu.addon).toMatch(/tensorflow-2\.21\.0-cpu\/addon\/.*\.node$/)
  })

  test('a second setup changes nothing and runs neither pip nor compiler', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    host.commands.length = 0
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: false, placed: true })
    expect(host.commands.join('\n')).not.toMatch(/pip|c\+\+/)
  })

  test('an addon compiled for another version of tinymoe is not used, and setup compiles the right one', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    rmSync(join(cpuFolder(host), 'addon'), { recursive: true })
    const { cpu } = await readPrepared(host)
    expect(cpu.addon).toBeNull()
    expect(cpu.problem).toContain('not compiled for this version of tinymoe: run `tinymoe setup`')
    host.commands.length = 0
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: true, placed: true })
    expect(host.commands.join('\n')).not.toMatch(/pip download/)
    expect((await readPrepared(host)).cpu.problem).toBeNull()
  })

  test('--force does it again', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    host.commands.length = 0
    expect(await prepareTensorflow({ force: true }, host)).toMatchObject({ changed: true, placed: true })
    expect(host.commands.join('\n')).toMatch(/pip download/)
  })

  test('another checkout only gets the addon placed', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    rmSync(placed(host))
    host.commands.length = 0
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: true, placed: true })
    expect(host.commands.join('\n')).not.toMatch(/pip|c\+\+/)
  })

  test('another version of tfjs-node gets its addon from the libraries that are there', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    const { npmPackage } = host
    host.npmPackage = (name) => ({ ...npmPackage(name)!, version: '4.23.0' })
    host.wheels = []
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: true, addon: true, placed: true })
  })

  test('the old addon is replaced by rename, so that whoever has it open keeps it', async () => {
    const host = readyHost()
    mkdirSync(join(placed(host), '..'), { recursive: true })
    writeFileSync(placed(host), 'old')
    await prepareTensorflow({}, host)
    expect(readFileSync(placed(host), 'utf8')).toContain('-rpath')
    expect(readdirSync(join(placed(host), '..'))).toEqual(['tfjs_binding.node'])
  })

  test('a library that went missing is reported, and brought back', async () => {
    const host = readyHost()
    await prepareTensorflow({}, host)
    rmSync(join(cpuFolder(host), 'tensorflow', 'libtensorflow_cc.so.2'))
    const { problem } = (await readPrepared(host)).cpu
    expect(problem).toMatch(/missing from .*libtensorflow_cc\.so\.2.*`tinymoe setup --variant cpu`/)
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: true, libraries: true })
  })
})

describe('the cuda variant', () => {
  test('takes NVIDIA wheels that the metadata names, in the lowest version it allows', async () => {
    const host = withCommands(readyHost(), { 'nvidia-smi': GPU })
    expect(await prepareTensorflow({}, host)).toMatchObject({ variant: 'cuda', placed: true })
    expect(host.commands.join('\n')).toMatch(/nvidia-nccl-cu12==2\.27\.7/)
    const folder = join(host.folder, 'cache', 'tensorflow-2.21.0-cuda')
    expect(existsSync(join(folder, 'nvidia', 'cublas', 'lib', 'libcublas.so.2'))).toBe(true)
    expect(existsSync(join(folder, 'nvidia', 'cublas', 'include'))).toBe(false)
    expect(existsSync(placed(host, 'tfjs-node-gpu'))).toBe(true)
  })

  test('automatic setup goes on to cpu when it cannot be had, and says so', async () => {
    const host = withCommands(fakeHost(), { 'nvidia-smi': GPU })
    host.wheels = [CPU_WHEEL]
    const messages: string[] = []
    const result = await prepareTensorflow({ onMessage: (message) => messages.push(message) }, host)
    expect(result.variant).toBe('cpu')
    expect(messages.join()).toMatch(
      /CUDA variant was not set up: .*tensorflow 2\.21\.0.*; trying the cpu variant/,
    )
  })

  test('asked for by name it is an error', async () => {
    await expect(prepareTensorflow({ variant: 'cuda' }, fakeHost())).rejects.toThrow(
      /cannot download tensorflow 2\.21\.0/,
    )
  })

  test('everything can come from given files', async () => {
    const host = fakeHost()
    const wheels = [CUDA_WHEEL, ...NVIDIA_WHEELS].map((wheel) =>
      writeWheel(join(host.folder, 'given'), wheel),
    )
    expect(await prepareTensorflow({ variant: 'cuda', wheels }, host)).toMatchObject({ addon: true })
    expect(host.commands.join('\n')).not.toContain('pip')
  })
})

describe('interruption and company', () => {
  test('a wheel that an interrupted setup left is used, its half-unpacked folder removed', async () => {
    const host = fakeHost()
    writeWheel(join(host.folder, 'cache', 'downloads'), CPU_WHEEL)
    mkdirSync(join(host.folder, 'cache', 'unfinished-abc'))
    await prepareTensorflow({}, host)
    expect(host.commands.join('\n')).not.toContain('pip')
    expect(readdirSync(join(host.folder, 'cache'))).toEqual(['tensorflow-2.21.0-cpu'])
  })

  test('two at once: the second waits, then finds everything done', async () => {
    const host = readyHost()
    const messages: string[] = []
    const options = { onMessage: (message: string) => messages.push(message) }
    await Promise.all([prepareTensorflow(options, host), prepareTensorflow(options, host)])
    expect(host.commands.filter((line) => line.includes('pip download'))).toHaveLength(1)
    expect(messages).toEqual(['another tinymoe setup is at work; waiting for it'])
  })

  test('the lock of a process that is gone is taken over', async () => {
    const host = readyHost()
    const lock = join(host.folder, 'cache', 'setup.lock')
    mkdirSync(lock, { recursive: true })
    const longAgo = new Date(Date.now() - 60_000)
    utimesSync(lock, longAgo, longAgo)
    expect(await prepareTensorflow({}, host)).toMatchObject({ changed: true })
  })
})

describe('each failure is one sentence', () => {
  const fails = async (host: FakeHost, message: RegExp, wheels?: string[]) => {
    const error = await prepareTensorflow({ variant: 'cpu', wheels }, host).then(
      () => null,
      (thrown) => thrown,
    )
    expect(error?.name).toBe('SetupError')
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('\n')
    expect((await inspectSetup('cpu', host)).addon).toBe(false)
  }

  test('a CXX that does not run', async () => {
    const host = readyHost()
    host.env.CXX = 'nothing-like-this -m64'
    await fails(host, /CXX="nothing-like-this -m64" does not run/)
  })

  test('a compiler that fails; the libraries stay for the next try', async () => {
    const host = readyHost()
    const { run } = host
    host.run = async (command, args) =>
      args.includes('-shared')
        ? {
            code: 1,
            stdout: '',
            stderr: 'In file x\ntfjs_backend.cc:1: fatal error: napi.h: no such file\nmore',
          }
        : run(command, args)
    await fails(host, /c\+\+ cannot compile the addon.*fatal error: napi\.h/)
    expect(await inspectSetup('cpu', host)).toMatchObject({ libraries: true, addon: false })
  })

  test('no network, by pip and directly', async () => {
    await fails(
      fakeHost(),
      /cannot download tensorflow-cpu 2\.21\.0: pip: No matching.*pypi\.org: .*ENOTFOUND/,
    )
  })

  test('no room', async () => {
    const host = readyHost()
    host.freeBytes = async () => 0.4e9
    await fails(host, /has 0\.4 GB free, and the cpu variant needs 1\.2 GB.*TINYMOE_CACHE/)
  })

  test('a disk that fills up meanwhile', async () => {
    const host = readyHost()
    host.freeBytes = async () => {
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    }
    await fails(host, /the disk is full/)
  })

  test('a cache that cannot be written', async () => {
    const host = readyHost()
    host.env.TINYMOE_CACHE = join(fileInTheWay(host.folder), 'cache')
    await fails(host, /cannot be used as the cache.*TINYMOE_CACHE/)
  })

  test('a cache on a file system that takes no folders', async () => {
    const host = readyHost()
    host.env.TINYMOE_CACHE = '/proc/nothing/cache'
    await fails(host, /cannot be used as the cache/)
  })

  test('a damaged wheel, which is then not kept', async () => {
    const host = readyHost()
    host.wheels = [{ ...CPU_WHEEL, damaged: ['tensorflow/libtensorflow_cc.so.2'] }]
    await fails(host, /no complete wheel.*libtensorflow_cc\.so\.2 has sha256 .* RECORD says/)
    expect(readdirSync(join(host.folder, 'cache', 'downloads'))).toEqual([])
  })

  test('a truncated wheel', async () => {
    const host = fakeHost()
    const path = writeWheel(host.folder, CPU_WHEEL)
    writeFileSync(path, readFileSync(path).subarray(0, 500))
    await fails(host, /\.whl: is no complete wheel .*download it again/, [path])
  })

  test('a wheel file that is not there', async () => {
    await fails(fakeHost(), /\/nowhere\.whl: cannot be read \(ENOENT/, ['/nowhere.whl'])
  })

  test.each([
    ['version', { ...CPU_WHEEL, version: '2.20.0' }],
    ['platform', { ...CPU_WHEEL, platform: 'win_amd64' }],
    ['package', CUDA_WHEEL],
  ])('a wheel of another %s', async (_what, wheel) => {
    const host = fakeHost()
    const { project, version, platform } = wheel
    const message = `is ${project} ${version} for ${platform}, expected tensorflow-cpu 2.21.0 for manylinux_2_27_x86_64`
    await fails(host, new RegExp(message.replaceAll('.', '\\.')), [writeWheel(host.folder, wheel)])
  })

  test('node_modules that cannot be written: said, and the cache is used', async () => {
    const host = readyHost()
    const inTheWay = fileInTheWay(host.folder)
    const { npmPackage } = host
    host.npmPackage = (name) => ({ ...npmPackage(name)!, folder: inTheWay })
    const messages: string[] = []
    const result = await prepareTensorflow({ onMessage: (message) => messages.push(message) }, host)
    expect(result).toMatchObject({ addon: true, placed: false })
    expect(messages.join()).toMatch(
      /cannot be written.*loads the addon from .*tensorflow-2\.21\.0-cpu instead/,
    )
    expect((await readPrepared(host)).cpu.addon).not.toBeNull()
  })

  test('tfjs-node that npm did not install', async () => {
    const host = readyHost()
    host.npmPackage = () => null
    await expect(prepareTensorflow({}, host)).rejects.toThrow(
      'run `npm install --ignore-scripts @tensorflow/tfjs-node`',
    )
    expect((await readPrepared(host)).cpu.problem).toContain('@tensorflow/tfjs-node is not installed')
  })

  test.each([
    ['win32', 'x64'],
    ['darwin', 'x64'],
    ['freebsd', 'x64'],
  ])('%s %s has no build', async (platform, arch) => {
    await expect(prepareTensorflow({}, fakeHost({ platform, arch }))).rejects.toThrow(
      `for ${platform} ${arch}`,
    )
    await expect(prepareTensorflow({ variant: 'cuda' }, fakeHost({ platform, arch }))).rejects.toThrow(
      `there is no cuda build of TensorFlow for ${platform} ${arch}`,
    )
  })
})

test('what would be done is told without doing it', async () => {
  const host = readyHost()
  expect(await inspectSetup('auto', host)).toMatchObject({ variant: 'cpu', libraries: false, addon: false })
  expect(existsSync(join(host.folder, 'cache'))).toBe(false)
})

test('a Mac links its own library names', async () => {
  const host = fakeHost({ platform: 'darwin', arch: 'arm64' })
  const members = {
    'tensorflow/libtensorflow_cc.2.dylib': 'cc',
    'tensorflow/libtensorflow_framework.2.dylib': 'framework',
    'tensorflow/include/tensorflow/c/c_api.h': '// header',
  }
  host.wheels = [{ ...CPU_WHEEL, project: 'tensorflow', platform: 'macosx_12_0_arm64', members }]
  await prepareTensorflow({}, host)
  expect(readFileSync(placed(host), 'utf8')).toMatch(/dynamic_lookup.*libtensorflow_cc\.2\.dylib/)
})
