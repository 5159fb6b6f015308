/** One picture of an animation: a lossy WebP file, and how long it stays. */
export interface Frame {
  webp: Uint8Array
  ms: number
}

const RIFF_HEADER = 12
const CHUNK_HEADER = 8
const ANIMATED = 0x02

/** An animated WebP that repeats for ever: the frames' own data in the container's chunks (developers.google.com/speed/webp/docs/riff_container). */
export function animatedWebp(frames: readonly Frame[], width: number, height: number): Buffer {
  const extended = Buffer.alloc(10)
  extended.writeUInt8(ANIMATED, 0)
  extended.writeUIntLE(width - 1, 4, 3)
  extended.writeUIntLE(height - 1, 7, 3)
  const endless = Buffer.alloc(6) // background colour, number of repeats
  const parts = frames.map(({ webp, ms }) => {
    const place = Buffer.alloc(16) // at 0, 0
    place.writeUIntLE(width - 1, 6, 3)
    place.writeUIntLE(height - 1, 9, 3)
    place.writeUIntLE(ms, 12, 3)
    return chunk('ANMF', Buffer.concat([place, imageChunk(webp)]))
  })
  const body = Buffer.concat([Buffer.from('WEBP'), chunk('VP8X', extended), chunk('ANIM', endless), ...parts])
  const header = Buffer.alloc(8)
  header.write('RIFF')
  header.writeUInt32LE(body.length, 4)
  return Buffer.concat([header, body])
}

/** The one chunk with the picture, of a file that may have others. */
function imageChunk(webp: Uint8Array): Buffer {
  const file = Buffer.from(webp)
  for (let at = RIFF_HEADER; at < file.length; ) {
    const size = file.readUInt32LE(at + 4)
    const end = at + CHUNK_HEADER + size + (size % 2)
    if (/^VP8[ L]$/.test(file.toString('latin1', at, at + 4))) return file.subarray(at, end)
    at = end
  }
  throw new Error('animatedWebp: a frame is no WebP picture')
}

function chunk(name: string, data: Buffer): Buffer {
  const header = Buffer.alloc(CHUNK_HEADER)
  header.write(name)
  header.writeUInt32LE(data.length, 4)
  return Buffer.concat([header, data, Buffer.alloc(data.length % 2)])
}
