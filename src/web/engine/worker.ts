import { messageOf } from '../../errors.ts'
import { Engine } from './engine.ts'
import type { Reply, Request } from './protocol.ts'

/* The engine's own thread: one call after the other, so that the page is free meanwhile. */

const engine = new Engine()
const reply = (message: Reply) => postMessage(message)
let last: Promise<void> = Promise.resolve()

async function answer({ id, call, args }: Request): Promise<void> {
  try {
    const onShare = (share: number | null) => reply({ id, share })
    reply({ id, result: await engine.call(call, args, onShare) })
  } catch (error) {
    reply({ id, error: messageOf(error) })
  }
}

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  last = last.then(() => answer(data))
})
