import type { LoadedModel, LoadOptions } from '../load-model.ts'
import { progressLines } from '../script/progress.ts'

/** `loadModel`, which says where it is when it takes long, on a terminal too. */
export async function loadTold(dir: string, options: LoadOptions): Promise<LoadedModel> {
  const { loadModel } = await import('../load-model.ts') // after what is said of wrong flags
  const lines = progressLines(false)
  const onProgress = (share: number) => lines.show(`loading ${dir}: ${Math.floor(100 * share)} %`)
  try {
    return await loadModel(dir, { ...options, onProgress })
  } finally {
    lines.stop()
  }
}
