import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface FakeWheel {
  project: string
  version: string
  platform: string
  python?: string
  requirements?: string[]
  members: Record<string, string>
  /** Members whose bytes are not what RECORD says. */
  damaged?: string[]
}

/** A wheel small enough for a test: the members, METADATA, WHEEL and a RECORD with their sha256. */
export function wheelBytes({
  project,
  version,
  platform,
  python,
  requirements,
  members,
  damaged,
}: FakeWheel): Buffer {
  const info = `${project.replaceAll('-', '_')}-${version}.dist-info`
  const files: Record<string, string> = {
    ...members,
    [`${info}/METADATA`]: [
      'Metadata-Version: 2.1',
      `Name: ${project.replaceAll('-', '_')}`,
      `Version: ${version}`,
      ...(requirements ?? []).map((line) => `Requires-Dist: ${line}`),
    ].join('\n'),
    [`${info}/WHEEL`]: [
      'Wheel-Version: 1.0',
      ...platform.split('.').map((tag) => `Tag: ${python ?? 'cp311'}-none-${tag}`),
    ].join('\n'),
  }
  const record = Object.entries(files)
    .map(
      ([name, text]) =>
        `${name},sha256=${createHash('sha256').update(text).digest('base64url')},${text.length}`,
    )
    .join('\n')
  for (const name of damaged ?? []) files[name] = files[name].replace(/./, '?')
  return zip({ ...files, [`${info}/RECORD`]: `${record}\n${info}/RECORD,,\n` })
}

export function wheelName({ project, version, platform, python }: FakeWheel): string {
  const tag = python ?? 'cp311'
  return `${project.replaceAll('-', '_')}-${version}-${tag}-${tag === 'py3' ? 'none' : tag}-${platform}.whl`
}

export function writeWheel(folder: string, wheel: FakeWheel): string {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, wheelName(wheel))
  writeFileSync(path, wheelBytes(wheel))
  return path
}

export const CPU_WHEEL: FakeWheel = {
  project: 'tensorflow-cpu',
  version: '2.21.0',
  platform: 'manylinux_2_27_x86_64',
  members: {
    'tensorflow/libtensorflow_cc.so.2': 'library cc',
    'tensorflow/libtensorflow_framework.so.2': 'library framework',
    'tensorflow/include/tensorflow/c/c_api.h': '// header',
    'tensorflow/include/external/other.h': '// header nobody needs',
    'tensorflow/python/keras.py': 'not wanted',
  },
}

export const CUDA_WHEEL: FakeWheel = {
  ...CPU_WHEEL,
  project: 'tensorflow',
  requirements: [
    'numpy>=1.26.0',
    'nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"',
    'nvidia-nccl-cu12<3.0,>=2.27.7; extra == "and-cuda"',
  ],
}

export const NVIDIA_WHEELS: FakeWheel[] = [
  { project: 'nvidia-cublas-cu12', version: '12.5.3.2', library: 'cublas' },
  { project: 'nvidia-nccl-cu12', version: '2.27.7', library: 'nccl' },
].map(({ library, ...wheel }) => ({
  ...wheel,
  platform: 'manylinux2014_x86_64',
  python: 'py3',
  members: {
    [`nvidia/${library}/lib/lib${library}.so.2`]: library,
    [`nvidia/${library}/include/${library}.h`]: '//',
  },
}))

export const COMPILER_WHEEL: FakeWheel = {
  project: 'ziglang',
  version: '0.17.1',
  platform: 'manylinux_2_12_x86_64.manylinux2010_x86_64',
  python: 'py3',
  members: {
    'ziglang/zig': 'binary',
    'ziglang/lib/std/os/windows.zig': 'part of the compiler',
    'ziglang/lib/libc/include/any-linux-any/errno.h': '//',
    'ziglang/lib/libc/include/any-windows-any/windows.h': '//',
    'ziglang/lib/libc/mingw/crt.c': '//',
  },
}

/** A zip archive with its members stored as they are; yauzl needs no checksum to read them. */
function zip(files: Record<string, string>): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, text] of Object.entries(files)) {
    const header = fileHeader(Buffer.byteLength(text), name)
    const local = Buffer.concat([
      Buffer.from([0x50, 0x4b, 3, 4]),
      header,
      Buffer.from(name),
      Buffer.from(text),
    ])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(offset, 10)
    directory.push(Buffer.concat([Buffer.from([0x50, 0x4b, 1, 2, 20, 0]), header, tail, Buffer.from(name)]))
    parts.push(local)
    offset += local.length
  }
  const list = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(directory.length, 8)
  end.writeUInt16LE(directory.length, 10)
  end.writeUInt32LE(list.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, list, end])
}

/** What a member's local header and its directory entry have in common. */
function fileHeader(size: number, name: string): Buffer {
  const header = Buffer.alloc(26)
  header.writeUInt16LE(20, 0) // version needed
  header.writeUInt32LE(size, 14)
  header.writeUInt32LE(size, 18)
  header.writeUInt16LE(Buffer.byteLength(name), 22)
  return header
}
