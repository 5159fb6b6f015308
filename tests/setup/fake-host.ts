import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type CommandResult, type Host, systemHost } from '../../src/device/host.ts'
import { type FakeWheel, writeWheel } from './fake-wheel.ts'

export const OK: CommandResult = { code: 0, stdout: '', stderr: '' }
export const NOT_FOUND: CommandResult = { code: null, stdout: '', stderr: 'spawn ENOENT' }

export interface FakeHost extends Host {
  folder: string
  /** Commands that were run, as lines. */
  commands: string[]
  /** What pip can download. */
  wheels: FakeWheel[]
}

/** A Linux machine with a compiler, pip, room, and no GPU and no network, whose files lie below a folder that the test's end removes. */
export function fakeHost(overrides: Partial<Host> = {}): FakeHost {
  const folder = mkdtempSync(join(tmpdir(), 'tinymoe-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const host: FakeHost = {
    ...systemHost(),
    folder,
    commands: [],
    wheels: [],
    platform: 'linux',
    arch: 'x64',
    env: { TINYMOE_CACHE: join(folder, 'cache') },
    cpuModel: () => 'Test CPU',
    glibcVersion: () => '2.36',
    readText: (path) =>
      path === '/proc/cpuinfo' ? Promise.resolve('flags\t\t: fpu avx avx2\n') : systemHost().readText(path),
    freeBytes: async () => 1e12,
    fetch: async () => {
      throw new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND pypi.org') })
    },
    npmPackage: (name) => ({ folder: join(folder, 'node_modules', name), version: '4.22.0' }),
    run: async (command, args) => {
      host.commands.push([command, ...args].join(' '))
      return runCommand(host, command, args)
    },
    ...overrides,
  }
  return host
}

/** Replaces some commands of a host, by name. */
export function withCommands(host: FakeHost, replaced: Record<string, CommandResult>): FakeHost {
  const { run } = host
  host.run = async (command, args, options) => replaced[command] ?? run(command, args, options)
  return host
}

function runCommand(host: FakeHost, command: string, args: string[]): CommandResult {
  if (command === 'python3') return args.includes('download') ? pipDownload(host, args) : OK
  if (command === 'c++' || command.endsWith('/ziglang/zig')) return compile(args)
  if (command === process.execPath) return OK // loads the addon
  return NOT_FOUND
}

function pipDownload({ wheels }: FakeHost, args: string[]): CommandResult {
  const requirement = args.at(-1)
  const found = wheels.find(({ project, version }) => requirement === `${project}==${version}`)
  if (!found)
    return { code: 1, stdout: '', stderr: `WARNING: x\nERROR: No matching distribution for ${requirement}\n` }
  writeWheel(args[args.indexOf('--dest') + 1], found)
  return OK
}

function compile(args: string[]): CommandResult {
  const output = args.indexOf('-o')
  if (output >= 0) writeFileSync(args[output + 1], `addon ${args.join(' ')}`)
  return OK
}

/** A file where a folder is needed: unusable for everyone, root too. */
export function fileInTheWay(folder: string): string {
  const path = join(folder, 'file')
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, '')
  return path
}
