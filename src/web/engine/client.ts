import type { Answer, Call, Calls, Reply, Request } from './protocol.ts'

interface Waiting {
  resolve(result: never): void
  reject(error: Error): void
  onShare?: (share: number | null) => void
}

/** Asks the engine's worker; answers come when they are computed, in the order of the questions. */
export class EngineClient {
  private readonly worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
  private readonly waiting = new Map<number, Waiting>()
  private count = 0

  constructor() {
    this.worker.addEventListener('message', ({ data }: MessageEvent<Reply>) => this.take(data))
    this.worker.addEventListener('error', ({ message }) => {
      for (const [id] of this.waiting) this.take({ id, error: message || 'The engine could not be started.' })
    })
  }

  ask<C extends Call>(
    call: C,
    args: Parameters<Calls[C]>,
    onShare?: (share: number | null) => void,
  ): Promise<Answer<C>> {
    const id = this.count++
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onShare })
      const request: Request = { id, call, args }
      this.worker.postMessage(request)
    })
  }

  private take(reply: Reply): void {
    const waiting = this.waiting.get(reply.id)
    if (!waiting) return
    if ('share' in reply) {
      waiting.onShare?.(reply.share)
      return
    }
    this.waiting.delete(reply.id)
    if ('error' in reply) waiting.reject(new Error(reply.error))
    else waiting.resolve(reply.result as never)
  }
}
