import { filesIn } from '../checkpoint/disk.ts'
import { modelDirectory } from '../package.ts'
import { javascriptLibrary } from './javascript.ts'
import { readTokenizer } from './open.ts'
import { referenceLibrary } from './reference.ts'
import type { Tokenizer, TokenizerLibrary } from './tokenizer.ts'

/** As `readTokenizer`, of a model named as for `loadModel`; by the library that serves here unless another is given. */
export async function loadTokenizer(model: string, library = servingLibrary()): Promise<Tokenizer | null> {
  return readTokenizer(filesIn(modelDirectory(model)), library)
}

/** The reference library, or where it cannot be loaded the one in JavaScript, whose name then says why. */
export function servingLibrary(): TokenizerLibrary {
  const reference = referenceLibrary()
  if (!('problem' in reference)) return reference
  const name = `${javascriptLibrary.name}, which serves since the reference library cannot be loaded (${reference.problem})`
  return { ...javascriptLibrary, name }
}
