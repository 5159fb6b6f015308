import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { registerDoctor } from '../../src/cli/doctor.ts'
import { registerSetup } from '../../src/cli/setup.ts'
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

test('setup of a variant asked for by name fails', async () => {
  unusableCache()
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

test('an unknown variant is wrong usage', async () => {
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
