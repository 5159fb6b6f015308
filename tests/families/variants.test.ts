import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { FAMILIES, familyNamed, runnableConfig } from '../../src/families/index.ts'
import type {
  AttentionConfig,
  FeedForwardConfig,
  LayerConfig,
  ModelConfig,
  RopeConfig,
} from '../../src/model/config.ts'
import { ropeFrequencies } from '../../src/model/rope-frequencies.ts'
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
 * What transformers 5.24 refuses, or fails at, and we take: it tells 1 from 1.0, fails at a null where its class goes on to say what null
 * means, and looks at fields that mean nothing. Of DBRX it rotates by another base than its authors' where attn_config alone has one, and
 * refuses what its model could do.
 */
const LENIENT =
  /expected float, got int|NoneType|^StrictDataclassFieldValidationError: .*'(pretraining_tp|pad_token_id|attention_dropout|initializer_range|router_\w+|output_router_logits|use_cache|norm_topk_prob|resid_pdrop|emb_pdrop)'|a window of no keys|rope_theta|the base of attn_config|d_model, which|not supported for DBRX|multiple of the number of attention/

function stored(family: string): Stored {
  return JSON.parse(gunzipSync(readFileSync(join(FIXTURES, 'configs', `${family}.json.gz`))).toString())
}

/** Our reading in the words of the script (bench/peers/config_fields.py), with what is left out at its default. */
function described(config: ModelConfig): Record<string, unknown> {
  const { embedding, residual, logits } = config.multipliers ?? { embedding: 1, residual: 1, logits: 1 }
  const texts = config.layers.map((layer) => JSON.stringify(layerOf(layer)))
  const kinds = [...new Set(texts)]
  return {
    vocabSize: config.vocabSize,
    hiddenSize: config.hiddenSize,
    maxPositionEmbeddings: config.maxPositionEmbeddings,
    normEps: config.normEps,
    tieWordEmbeddings: config.tieWordEmbeddings,
    bosTokenId: config.bosTokenId,
    eosTokenIds: config.eosTokenIds,
    multipliers: [embedding, residual, logits],
    unembeddingBias: config.unembeddingBias ?? false,
    kinds: kinds.map((text) => JSON.parse(text)),
    layers: texts.map((text) => kinds.indexOf(text)),
  }
}

function layerOf({ attention, feedForward }: LayerConfig) {
  return { attention: attentionOf(attention), feedForward: feedForwardOf(feedForward) }
}

function attentionOf(attention: AttentionConfig) {
  if (attention.kind === 'latent') {
    return { ...attention, bias: attention.bias ?? false, rope: ropeOf(attention.rope, attention.ropeDim) }
  }
  const { temperature, rope, headDim, bias } = attention
  return {
    outputBias: bias,
    sinks: false,
    chunk: null,
    scale: headDim ** -0.5,
    clip: null,
    unitNorm: null,
    ...attention,
    qkNorm: attention.qkNorm ?? null,
    temperature: temperature ? [temperature.every, temperature.scale] : null,
    rope: rope && ropeOf(rope, headDim),
  }
}

function ropeOf(rope: RopeConfig, width: number) {
  const all = ropeFrequencies(rope, width)
  return {
    channels: 2 * all.length,
    interleaved: rope.interleaved ?? false,
    numbers: [all[0], all[Math.floor(all.length / 2)], all[all.length - 1], rope.magnitude ?? 1],
  }
}

function feedForwardOf(feedForward: FeedForwardConfig) {
  if (feedForward.kind === 'dense') return { ...feedForward, act: 'silu' }
  const { kind, intermediateSize, router, sharedExpert, expertBias = false, clamp } = feedForward
  const { bias: routerBias = false, groupLimit, scoreBias = false, ...rest } = router
  return {
    kind,
    intermediateSize,
    normOrder: 1,
    jitter: null,
    weighsInput: false,
    ...rest,
    routerBias,
    scoreBias,
    groupLimit: groupLimit && [groupLimit.groups, groupLimit.keep, groupLimit.score],
    shared: sharedExpert ? { gate: false, bias: false, ...sharedExpert } : null,
    expertBias,
    clamp: clamp ? [clamp.limit, clamp.alpha] : null,
    act: 'silu',
  }
}

/** Numbers that the library computed in float32 become ours where they are as near as that. */
function settled(theirs: unknown, ours: unknown): unknown {
  if (typeof theirs === 'number' && typeof ours === 'number')
    return Math.abs(theirs - ours) <= 2e-6 * Math.abs(ours) ? ours : theirs
  if (typeof theirs !== 'object' || theirs === null || typeof ours !== 'object' || ours === null)
    return theirs
  const own = ours as Record<string, unknown>
  const entries = Object.entries(theirs).map(([name, value]) => [name, settled(value, own[name])])
  return Array.isArray(theirs) ? entries.map(([, value]) => value) : Object.fromEntries(entries)
}

function ours(json: unknown): { config: ModelConfig } | { error: ConfigError } {
  try {
    return { config: runnableConfig(json, 'config.json').config }
  } catch (error) {
    if (error instanceof ConfigError) return { error }
    throw error
  }
}

const STORED = readdirSync(join(FIXTURES, 'configs')).map((file) => file.replace('.json.gz', ''))

test('every family that runs was compared', () => {
  const runnable = FAMILIES.filter((family) => family.runnable).map(({ modelType }) => modelType)
  expect(STORED.sort()).toEqual(runnable.sort())
})

describe.each(STORED)('%s', (family) => {
  const { cases } = stored(family)
  const table = familyNamed(family).fields
  const counts = { equal: 0, 'both refuse': 0, 'ours refuses': 0, 'ours takes': 0 }

  test('400 variants: equal in every part, or refused by a field of the table', () => {
    expect(cases).toHaveLength(400)
    for (const { config: json, fields, refused } of cases) {
      const read = ours(json)
      const shown = JSON.stringify(json)
      if ('config' in read && fields) {
        const own = described(read.config)
        expect(settled(fields, own), shown).toEqual(own)
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

  test('a quarter are read, and each outcome is met', () => {
    expect(counts.equal, JSON.stringify(counts)).toBeGreaterThan(100)
    expect(Math.min(...Object.values(counts)), JSON.stringify(counts)).toBeGreaterThan(0)
  })
})
