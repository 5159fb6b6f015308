import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { loadWeights } from '../../src/checkpoint/load.ts'
import { dequantised } from '../../src/checkpoint/quantised.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { MoeModel } from '../../src/model/transformer.ts'

export const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url))

/** The parts of a golden.json (made by transformers 5.23.0 in float32) that tests read. */
export interface Golden {
  moe_layers: number[]
  prompts: {
    name: string
    input_ids: number[]
    last_logits: number[]
    logits?: number[][]
    routing: { layer: number; logits: number[][]; experts: number[][]; weights: number[][] }[]
    hidden_states?: {
      embed: number[][]
      layers: { attn_out: number[][]; mlp_out: number[][]; output: number[][] }[]
      final_norm: number[][]
    }
  }[]
  batch: { input_ids: number[][]; attention_mask: number[][]; last_logits: number[][] } | { skipped: string }
  generation: { prompt: string; tokens: number[] }[]
}

export function readGolden(path: string): Golden {
  return JSON.parse(readFileSync(join(FIXTURES, path), 'utf8'))
}

/** Every case of the reference: where it lies, and the values that it is to give. */
export function goldenIndex(): { family: string; case: string; dir: string; golden: string }[] {
  return JSON.parse(readFileSync(join(FIXTURES, 'index.json'), 'utf8')).cases
}

export function readFixture(dir: string, configFile = 'config.json'): ReturnType<typeof runnableConfig> {
  return runnableConfig(JSON.parse(readFileSync(join(FIXTURES, dir, configFile), 'utf8')), configFile)
}

/** Weights and config of a fixture on the active backend; `configFile` may be the older dialect beside config.json. */
export function fixtureModel(dir: string, configFile = 'config.json'): MoeModel {
  const { config, family, quantisation } = readFixture(dir, configFile)
  const checkpoint = dequantised(openCheckpoint(join(FIXTURES, dir)), quantisation)
  try {
    return new MoeModel(config, loadWeights(checkpoint, config, family))
  } finally {
    checkpoint.close()
  }
}

/** Largest absolute difference; infinite when lengths differ or a value is not a number. */
export function maxDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i])
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
  }
  return worst
}
