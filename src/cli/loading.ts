import type { LoadedModel, LoadOptions } from '../load-model.ts'
import { remark } from '../script/output.ts'
import { progressLines } from '../script/progress.ts'

/** `loadModel`, which says where it is when it takes long, on a terminal too, and what it noticed. */
async function loadTold(dir: string, options: LoadOptions): Promise<LoadedModel> {
  const { loadModel } = await import('../load-model.ts') // after what is said of wrong flags
  const lines = progressLines(false)
  const onProgress = (share: number) => lines.show(`loading ${dir}: ${Math.floor(100 * share)} %`)
  try {
    const model = await loadModel(dir, { ...options, onProgress })
    lines.stop()
    for (const text of model.remarks) remark(text)
    return model
  } finally {
    lines.stop()
  }
}

/** The same for `work`, by a command's flags; the model is freed however that ends. */
export async function withModel<T>(
  dir: string,
  { device, dispatch, executor, dtype, debug, expertsOnDisk }: LoadOptions,
  work: (model: LoadedModel) => Promise<T>,
): Promise<T> {
  const model = await loadTold(dir, { device, dispatch, executor, dtype, debug, expertsOnDisk })
  try {
    return await work(model)
  } finally {
    model.dispose()
  }
}
