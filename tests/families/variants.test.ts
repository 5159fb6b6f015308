import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { groupedIn } from '../../src/families/format.ts'
import { familyNamed, runnableConfig } from '../../src/families/index.ts'
import { type DenseConfig, type ModelConfig, type MoeConfig, mixturesOf } from '../../src/model/config.ts'
import { FIXTURES } from '../helpers/golden.ts'

/** As bench/peers/config_variants.py stored it. */
interface Variant {
  config: Record<string, unknown>
  fields?: Record<string, unknown>
  refused?: string
}

interface Stored {
  transformers: string
  cases: Variant[]
}

/**
 * What transformers 5.24 refuses, or fails at, and we take: it tells 1 from 1.0, and refuses null for key-value heads where its class
 * goes on to say what null means.
 */
const LENIENT =
  /expected (float, got int|int, got NoneType)|^StrictDataclassFieldValidationError: .*'(pretraining_tp|pad_token_id|attention_dropout|initializer_range|router_\w+|output_router_logits|use_cache)'/

function stored(family: string): Stored {
  return JSON.parse(gunzipSync(readFileSync(join(FIXTURES, 'configs', `${family}.json.gz`))).toString())
}

/** Our reading in the words of the script; what a layer that is not there would say is left out. */
function flat(config: ModelConfig): Record<string, unknown> {
  const attention = groupedIn(config)
  const { type, ...scaling } = attention.rope.scaling
  const dense = config.layers.flatMap(({ feedForward }) =>
    feedForward.kind === 'dense' ? [feedForward] : [],
  )
  return {
    vocabSize: config.vocabSize,
    hiddenSize: config.hiddenSize,
    layers: config.layers.length,
    numHeads: attention.numHeads,
    numKeyValueHeads: attention.numKeyValueHeads,
    headDim: attention.headDim,
    hiddenAct: 'silu',
    maxPositionEmbeddings: config.maxPositionEmbeddings,
    normEps: config.normEps,
    tieWordEmbeddings: config.tieWordEmbeddings,
    bosTokenId: config.bosTokenId,
    eosTokenIds: config.eosTokenIds,
    rope: {
      theta: attention.rope.theta,
      type,
      ...('factor' in scaling && type !== 'yarn' && { factor: scaling.factor }), // the script did not note yarn's
      ...('lowFreqFactor' in scaling && {
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
      }),
    },
    ...OWN[config.family](config, dense, mixturesOf(config.layers)),
  }
}

type Own = (config: ModelConfig, dense: DenseConfig[], mixtures: MoeConfig[]) => Record<string, unknown>

const OWN: Record<string, Own> = {
  mixtral: (config, _, [moe]) => ({
    intermediateSize: moe.intermediateSize,
    numExperts: moe.router.numExperts,
    topK: moe.router.topK,
    slidingWindow: groupedIn(config).slidingWindow,
  }),
  llama: (config, [dense]) => ({
    intermediateSize: dense.intermediateSize,
    attentionBias: groupedIn(config).bias,
    mlpBias: dense.bias,
  }),
  glm4_moe: (config, dense, [moe]) => ({
    rotaryDim: groupedIn(config).rope.rotaryDim,
    denseLayers: dense.length,
    qkNorm: groupedIn(config).qkNorm === 'per-head',
    attentionBias: groupedIn(config).bias,
    ...(dense.length > 0 && { intermediateSize: dense[0].intermediateSize }),
    ...(moe && {
      numExperts: moe.router.numExperts,
      topK: moe.router.topK,
      ...(moe.router.groupLimit && {
        groups: moe.router.groupLimit.groups,
        groupsKept: moe.router.groupLimit.keep,
      }),
      sharedExperts: (moe.sharedExpert?.intermediateSize ?? 0) / moe.intermediateSize,
      expertSize: moe.intermediateSize,
      normalized: moe.router.weighting === 'normalized',
      scalingFactor: moe.router.scalingFactor,
    }),
  }),
}

function ours(json: unknown): { config: ModelConfig } | { error: ConfigError } {
  try {
    return { config: runnableConfig(json, 'config.json').config }
  } catch (error) {
    if (error instanceof ConfigError) return { error }
    throw error
  }
}

describe.each(['mixtral', 'llama', 'glm4_moe'])('%s', (family) => {
  const { cases } = stored(family)
  const table = familyNamed(family).fields
  const counts = { equal: 0, 'both refuse': 0, 'ours refuses': 0, 'ours takes': 0 }

  test('400 variants: equal field by field, or refused by a field of the table', () => {
    expect(cases).toHaveLength(400)
    for (const { config: json, fields, refused } of cases) {
      const read = ours(json)
      const shown = JSON.stringify(json)
      if ('config' in read && fields) {
        expect(fields, shown).toMatchObject(flat(read.config))
        counts.equal++
      } else if ('error' in read) {
        const [, field] = /^config\.json: "([^."]+)/.exec(read.error.message) ?? []
        expect(table, `${read.error.message} of ${shown}`).toHaveProperty(field)
        counts[fields ? 'ours refuses' : 'both refuse']++
      } else {
        expect(refused, shown).toMatch(LENIENT)
        counts['ours takes']++
      }
    }
  })

  test('half are read, and each outcome is met', () => {
    expect(counts.equal, JSON.stringify(counts)).toBeGreaterThan(190)
    expect(Math.min(...Object.values(counts)), JSON.stringify(counts)).toBeGreaterThan(0)
    expect(counts['ours takes'], JSON.stringify(counts)).toBeLessThan(20)
  })
})
