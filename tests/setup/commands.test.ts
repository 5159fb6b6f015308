import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { register as registerDoctor } from '../../src/cli/doctor.ts'
import { describePreparation, register as registerSetup } from '../../src/cli/setup.ts'
import { SetupError } from '../../src/errors.ts'
import { fakeHost, fileInTheWay } from './fake-host.ts'

const lines: string[] = []

beforeEach(() => {
  lines.length = 0
  vi.spyOn(console, 'log').mockImplementation((text) => {
    lines.push(text)
  })
  vi.spyOn(console, 'error').mockImplementation(() => {})
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  process.exitCode = undefined
})

async function run(...args: string[]): Promise<string> {
  const program = new Command('tinymoe')
    .option('--json')
    .option('--debug')
    .option('--device <name>')
    .exitOverride()
  registerSetup(program)
  registerDoctor(program)
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} })
  await program.parseAsync(args, { from: 'user' })
  return lines.join('\n')
}

function unusableCache(): void {
  vi.stubEnv('TINYMOE_CACHE', join(fileInTheWay(fakeHost().folder), 'cache'))
}

test('setup that cannot succeed leaves things to wasm, without failing', async () => {
  unusableCache()
  expect(await run('setup')).toMatch(/^native TensorFlow is not set up, falling back to wasm: .+/)
  lines.length = 0
  expect(JSON.parse(await run('setup', '--json'))).toMatchObject({ variant: null, fallback: 'wasm' })
  expect(process.exitCode).toBeUndefined()
})

test('setup that is asked for in particular fails', async () => {
  unusableCache()
  await expect(run('setup', '--force')).rejects.toThrow(SetupError)
  await expect(run('setup', '--compiler', 'fetch')).rejects.toThrow(SetupError)
  await expect(run('setup', '--variant', 'cpu')).rejects.toThrow(SetupError)
  await expect(run('setup', '--wheel', '/nowhere.whl')).rejects.toThrow(/nowhere\.whl/)
})

test('setup --check says what is missing and exits 1', async () => {
  vi.stubEnv('TINYMOE_CACHE', join(fakeHost().folder, 'cache'))
  const text = await run('setup', '--check')
  expect(text).toMatch(/^variant +(cpu|cuda): /)
  expect(text).toContain('would be downloaded')
  expect(process.exitCode).toBe(1)
  lines.length = 0
  expect(JSON.parse(await run('setup', '--check', '--json'))).toMatchObject({
    libraries: false,
    addon: false,
  })
})

test('what was done ends with who compiled the addon, if it was compiled', () => {
  const done = {
    variant: 'cpu',
    reason: 'no GPU',
    folder: '/c',
    libraries: true,
    addon: true,
    placed: true,
  } as const
  const told = (compiler: string, compiled = true) =>
    describePreparation({ ...done, changed: compiled, compiled, compiler })
  expect(told('c++ 12.2.0', false)).toBe('TensorFlow (cpu) was already set up in /c; no GPU')
  expect(told('c++ 12.2.0')).toBe(
    'TensorFlow (cpu) is now set up in /c; no GPU; its addon was compiled by c++ 12.2.0',
  )
  expect(told('ziglang 0.17.1')).toMatch(
    /; its addon was compiled by ziglang 0\.17\.1, which was fetched for it and is removed again$/,
  )
})

test('an unknown variant or compiler is wrong usage', async () => {
  await expect(run('setup', '--compiler', 'gcc')).rejects.toThrow(/Allowed choices are system, fetch/)
  await expect(run('setup', '--variant', 'rocm')).rejects.toThrow(/Allowed choices are auto, cpu, cuda/)
})

test('doctor prints every candidate, the device and its speed', async () => {
  const text = await run('--device', 'js', 'doctor')
  expect(text).toMatch(/^cuda +- +\S/m)
  expect(text).toMatch(/^js +taken +\S/m)
  expect(text).toMatch(/^matrix product +[\d.]+ GFLOP\/s \(192 x 192 x 192, float32\)$/m)
  expect(text).toMatch(/^memory reading +[\d.]+ GB\/s/m)
})

test('doctor --json is the report with readings', async () => {
  const report = JSON.parse(await run('--device', 'wasm', '--json', 'doctor'))
  expect(report).toMatchObject({ device: 'wasm', backend: 'wasm', tensorflowVersion: null })
  expect(report.candidates).toHaveLength(4)
  expect(report.readings.matmulGflops).toBeGreaterThan(0)
  expect(report.cacheFolder).toBeTruthy()
})
