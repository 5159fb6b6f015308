import type { MoeModel, Tokenizer } from '../../browser.ts'
import type { ModelFacts } from './protocol.ts'

export interface Loaded {
  facts: ModelFacts
  model: MoeModel
  tokenizer: Tokenizer | null
}
