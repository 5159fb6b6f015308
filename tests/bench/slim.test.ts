import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { slim } from '../../bench/gpu/slim.ts'

/** Code of one kind (2: machine code, 1: PTX) for an architecture, as it lies in a container. */
function entry(kind: number, architecture: number, code: string): Buffer {
  const header = Buffer.alloc(64)
  header.writeUInt16LE(kind, 0)
  header.writeUInt32LE(64, 4)
  header.writeBigUInt64LE(BigInt(code.length), 8)
  header.writeUInt32LE(architecture, 28)
  return Buffer.concat([header, Buffer.from(code)])
}

/** A library with one section of code for cards, two containers with padding between, and another section. */
function library(...containers: Buffer[][]): Buffer {
  const section = Buffer.concat(
    containers.flatMap((entries) => {
      const [body, header] = [Buffer.concat(entries), Buffer.alloc(16)]
      header.writeUInt32LE(0xba55ed50, 0)
      header.writeUInt16LE(16, 6)
      header.writeBigUInt64LE(BigInt(body.length), 8)
      return [header, body, Buffer.alloc(8)]
    }),
  )
  const names = Buffer.from('\0.nv_fatbin\0.data\0')
  const data = Buffer.from('machine code for 80')
  const places = [section, names, data]
  const header = Buffer.alloc(64)
  header.write('\x7fELF', 0, 'latin1')
  const table = Buffer.alloc(3 * 64)
  let at = 64
  for (const [i, name] of [1, 0, 12].entries()) {
    table.writeUInt32LE(name, i * 64)
    table.writeBigUInt64LE(BigInt(at), i * 64 + 24)
    table.writeBigUInt64LE(BigInt(places[i].length), i * 64 + 32)
    at += places[i].length
  }
  header.writeBigUInt64LE(BigInt(at), 40)
  for (const [offset, value] of [
    [58, 64],
    [60, 3],
    [62, 1],
  ])
    header.writeUInt16LE(value, offset)
  return Buffer.concat([header, ...places, table])
}

test('keeps the code of one architecture, drops libraries that a machine has itself, and the manifest says so', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slim-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const files = [
    'tensorflow/libt.so.2',
    'nvidia/cublas/lib/libcublas.so.12',
    'nvidia/cuda_runtime/lib/libcudart.so.12',
  ]
  const content = library(
    [entry(2, 80, 'for eighty.'), entry(2, 90, 'for ninety.')],
    [entry(1, 90, 'portable'), entry(2, 90, 'more')],
  )
  for (const file of files) {
    mkdirSync(join(folder, file, '..'), { recursive: true })
    writeFileSync(join(folder, file), content)
  }
  const manifest = {
    tensorflow: '2',
    variant: 'cuda',
    files: files.map((path) => ({ path, bytes: content.length })),
  }
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest))
  slim(folder, 90, false)
  const left = readFileSync(join(folder, files[0]))
  expect(left).toHaveLength(content.length)
  const expected = ['for eighty.', 'portable'].reduce(
    (text, gone) => text.replace(gone, '\0'.repeat(gone.length)),
    content.toString('latin1'),
  )
  expect(left.toString('latin1')).toBe(expected)
  const { files: named } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
  expect(named.map(({ path }: { path: string }) => path)).toEqual([files[0], files[2]])
  expect(() => readFileSync(join(folder, files[1]))).toThrow()
})
