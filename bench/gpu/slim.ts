import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/*
 * Makes a prepared CUDA folder of the cache compress small: `slim.ts FOLDER ARCHITECTURE [all]`, such as 90. In its libraries the code
 * for other architectures becomes zeros. Without `all` NVIDIA's libraries go but for the CUDA runtime and CUPTI, and the manifest
 * names what is left.
 */

const KEPT = ['cuda_runtime', 'cuda_cupti']
const SECTIONS = ['.nv_fatbin', '__nv_relfatbin']
const MAGIC = 0xba55ed50
/** The other kind is PTX, which a driver compiles. */
const MACHINE_CODE = 2
const ZEROS = Buffer.alloc(2 ** 20)

/** Zeros all code for cards in a library of 64 bits, in place, but that of one architecture. Gives the bytes of both. */
export function keepArchitecture(file: string, architecture: number): { kept: number; zeroed: number } {
  const descriptor = openSync(file, 'r+')
  const read = (at: number, length: number) => {
    const bytes = Buffer.alloc(length)
    readSync(descriptor, bytes, 0, length, at)
    return bytes
  }
  const found = { kept: 0, zeroed: 0 }
  try {
    for (const [from, end] of sections(read)) {
      for (let at = from; at + 16 <= end; ) {
        const container = read(at, 16)
        if (container.readUInt32LE(0) !== MAGIC) {
          at += 8
          continue
        }
        let entry = at + container.readUInt16LE(6)
        at = entry + Number(container.readBigUInt64LE(8))
        while (entry + 64 <= at) {
          const header = read(entry, 64)
          const [start, length] = [entry + header.readUInt32LE(4), Number(header.readBigUInt64LE(8))]
          const isOwn = header.readUInt16LE(0) === MACHINE_CODE && header.readUInt32LE(28) === architecture
          if (!isOwn)
            for (let done = 0; done < length; done += ZEROS.length)
              writeSync(descriptor, ZEROS, 0, Math.min(ZEROS.length, length - done), start + done)
          found[isOwn ? 'kept' : 'zeroed'] += length
          entry = start + length
        }
      }
    }
  } finally {
    closeSync(descriptor)
  }
  return found
}

/** Where in an ELF file of 64 bits code for cards lies. */
function sections(read: (at: number, length: number) => Buffer): [from: number, end: number][] {
  const header = read(0, 64)
  if (header.readUInt32BE(0) !== 0x7f454c46) return []
  const [table, size] = [Number(header.readBigUInt64LE(40)), header.readUInt16LE(58)]
  const entries = Array.from({ length: header.readUInt16LE(60) }, (_, i) => {
    const entry = read(table + i * size, 40)
    return {
      name: entry.readUInt32LE(0),
      at: Number(entry.readBigUInt64LE(24)),
      length: Number(entry.readBigUInt64LE(32)),
    }
  })
  const names = entries[header.readUInt16LE(62)]
  const nameOf = ({ name }: { name: number }) => {
    const text = read(names.at + name, Math.min(64, names.length - name))
    return text.subarray(0, text.indexOf(0)).toString()
  }
  return entries.flatMap((entry) =>
    SECTIONS.includes(nameOf(entry)) ? [[entry.at, entry.at + entry.length]] : [],
  )
}

/** The folder with code for one architecture. */
export function slim(folder: string, architecture: number, all: boolean): void {
  const nvidia = join(folder, 'nvidia')
  if (!all && existsSync(nvidia))
    for (const name of readdirSync(nvidia))
      if (!KEPT.includes(name)) rmSync(join(nvidia, name), { recursive: true })
  const file = join(folder, 'manifest.json')
  const manifest: { files: { path: string }[] } = JSON.parse(readFileSync(file, 'utf8'))
  const files = manifest.files.filter(({ path }) => existsSync(join(folder, path)))
  for (const { path } of files.filter(({ path }) => /\.so(\.|$)/.test(path))) {
    const { kept, zeroed } = keepArchitecture(join(folder, path), architecture)
    if (zeroed > 0) process.stdout.write(`${path}: ${kept >> 20} MiB kept, ${zeroed >> 20} MiB zeroed\n`)
  }
  writeFileSync(file, JSON.stringify({ ...manifest, files }, null, 1))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, architecture, all] = process.argv.slice(2)
  slim(folder, Number(architecture), all === 'all')
}
