import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'

/** A new directory that goes away with the test file. */
export function temporaryDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-checkpoint-'))
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A safetensors file byte by byte: `header` as it stands (an object becomes JSON), then `data`. */
export function writeRaw(
  file: string,
  header: string | object,
  data: Uint8Array | number = 0,
  headerLength?: bigint,
): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(headerLength ?? BigInt(json.length))
  writeFileSync(file, Buffer.concat([length, json, typeof data === 'number' ? Buffer.alloc(data) : data]))
  return file
}

/** Runs `action`, which must throw a CheckpointError within a second; its message must hold every one of `parts`. */
export function expectRejected(action: () => unknown, ...parts: string[]): void {
  const start = process.cpuUsage() // not the clock: other programs may keep the machine busy
  let thrown: unknown
  try {
    action()
  } catch (error) {
    thrown = error
  }
  const { user, system } = process.cpuUsage(start)
  expect((user + system) / 1000).toBeLessThan(1000)
  expect(thrown).toBeInstanceOf(CheckpointError)
  for (const part of parts) expect((thrown as Error).message).toContain(part)
}
