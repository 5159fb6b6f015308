import { deepseekV3 } from './deepseek-v3.ts'
import type { RunnableFamily } from './family.ts'

/** Kimi K2 (Moonshot AI 2025, arXiv 2507.20534): DeepSeek-V3's architecture by another name; transformers takes it for that too. */
export const kimiK2: RunnableFamily = { ...deepseekV3, modelType: 'kimi_k2' }
