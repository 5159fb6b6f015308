import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { type MoeConfig, softmaxTopK } from '../../src/model/config.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { randomNumbers } from '../helpers/random.ts'
import { TEXT_CONFIG } from './oracle.ts'

/** A directory with random weights of next to no size, each of its sizes this one, and the project's tokenizer; the caller removes it. */
export function tinyModel(size = 8): string {
  const mixture: MoeConfig = { kind: 'moe', intermediateSize: size, router: softmaxTopK(4, 2) }
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-eval-'))
  const next = randomNumbers(1)
  saveCheckpoint(
    dir,
    {
      ...TEXT_CONFIG,
      maxPositionEmbeddings: 96, // texts that never end are soon over
      family: 'mixtral',
      hiddenSize: size,
      normEps: 1e-5,
      tieWordEmbeddings: false,
      layers: [{ attention: groupedAttention({ headDim: size / 2 }), feedForward: mixture }],
    },
    'F32',
    (_, shape) => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next),
  )
  cpSync('models/random-mixtral/tokenizer.json', join(dir, 'tokenizer.json'))
  return dir
}
