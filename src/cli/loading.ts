import { type LoadedModel, type LoadOptions, loadModel } from '../load-model.ts'
import { progressLines } from '../script/progress.ts'

/** `loadModel`, which says where it is when it takes long, on a terminal too. */
export async function loadTold(dir: string, options: LoadOptions): Promise<LoadedModel> {
  const lines = progressLines(false)
  const onProgress = (share: number) => lines.show(`loading ${dir}: ${Math.floor(100 * share)} %`)
  try {
    return await loadModel(dir, { ...options, onProgress })
  } finally {
    lines.stop()
  }
}
