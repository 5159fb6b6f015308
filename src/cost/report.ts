/*
 * What is published about the training of DeepSeek-V3 and R1; docs/cost.md has the quotations.
 */

/** DeepSeek-V3 report (arXiv 2412.19437), table 1 and section 4: H800 hours, tokens, sequence length, dollars an hour. */
export const DEEPSEEK_V3 = {
  model: 'deepseek-ai/DeepSeek-V3',
  hours: { pretraining: 2_664_000, contextExtension: 119_000, postTraining: 5_000 },
  tokens: 14.8e12,
  sequence: 4096,
  price: 2,
} as const

/** NVIDIA's data sheet of the H100 SXM, dense; the H800 differs in its links and its float64, not in these. */
export const H800_PEAK = { bfloat16: 989.5e12, fp8: 1979e12 } as const

/** Supplement of the paper on R1 (Nature, September 2025), as reported: GPUs, hours of R1-Zero and of R1, data. */
export const DEEPSEEK_R1 = { gpus: 512, hours: 198 + 80, dataHours: 5_000 } as const

/** H800 hours of R1's own training, on top of V3's. */
export function r1Hours(): number {
  const { gpus, hours, dataHours } = DEEPSEEK_R1
  return gpus * hours + dataHours
}

/** What the figure of one training run does not hold. Dollars are null where nobody has published them. */
export function leftOut(price: number): { what: string; dollars: number | null }[] {
  return [
    { what: "R1's own training on top of V3 (R1-Zero, R1, data)", dollars: r1Hours() * price },
    { what: 'earlier research and ablations on architecture, algorithms and data', dollars: null },
    { what: 'buying or building the cluster beyond rent, people, data, serving', dollars: null },
  ]
}
