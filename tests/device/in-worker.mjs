import { parentPort, workerData } from 'node:worker_threads'
import { register } from 'tsx/esm/api'

// A worker thread that runs a model, for worker-threads.test.ts; it ends without disposing of anything.
register()
const { loadModel } = await import('../../src/load-model.ts')
const { dir, threads } = workerData
try {
  const model = await loadModel(dir, { device: 'cpu', threads })
  const { logits } = model.forward([1, 5, 34, 139])
  const { tokens } = model.greedy([1, 5, 34])
  parentPort.postMessage({ logits: [...logits.dataSync()], next: tokens, threads: model.runtime.threads })
} catch (error) {
  parentPort.postMessage(error.message)
}
