import { WriteStream } from 'node:tty'
import type { ColourDepth } from '../trace/ansi.ts'

/**
 * Colours a stream gets: none with NO_COLOR (no-color.org), those that FORCE_COLOR says whatever the stream, else those
 * of the terminal, and none where there is no terminal.
 */
export function colourDepth(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): ColourDepth {
  if (env.NO_COLOR) return 0
  const forced = env.FORCE_COLOR !== undefined
  if (!forced && (!stream.isTTY || env.TERM === 'dumb')) return 0
  if (forced && /^(0|false)$/.test(env.FORCE_COLOR ?? '')) return 0
  const depth = WriteStream.prototype.getColorDepth(env)
  return depth === 1 ? (forced ? 4 : 0) : (depth as ColourDepth)
}
