import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'
import * as tf from '@tensorflow/tfjs-core'

/** Starts tfjs' wasm backend; at once where it runs. */
export async function startBackend(): Promise<void> {
  if (tf.getBackend() === 'wasm') return
  // Its threads die in a minified bundle, and gain nothing for the few rows of a text.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  const at = (path: string) => new URL(path, import.meta.url).href
  // The third is never fetched, but has to have a name.
  setWasmPaths({
    'tfjs-backend-wasm.wasm': at(plain),
    'tfjs-backend-wasm-simd.wasm': at(simd),
    'tfjs-backend-wasm-threaded-simd.wasm': at(simd),
  })
  if (!(await tf.setBackend('wasm'))) {
    throw new Error('This browser has no WebAssembly, which the engine computes with.')
  }
  await tf.ready()
}
