import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findPublished } from '../../src/cost/find-published.ts'
import type { PublishedModel } from '../../src/cost/published.ts'
import { ConfigError } from '../../src/errors.ts'
import type { RunnableFamily } from '../../src/families/family.ts'
import type { Field, FieldTable } from '../../src/families/fields.ts'
import { groupedIn } from '../../src/families/format.ts'
import { FAMILIES, formatted, runnableConfig, shapeFromJson } from '../../src/families/index.ts'
import { decoderFields } from '../../src/families/schema.ts'
import type { RouterConfig } from '../../src/model/config.ts'
import { REPOSITORY } from '../cli/run-cli.ts'
import { ARCHITECTURES } from './arbitrary.ts'

const RUNNABLE = FAMILIES.filter((family): family is RunnableFamily => family.runnable)

const HEAD = `# What is made of config.json

What is the same in every architecture that the engine runs, then a table for each with its own, which counts where both name a field.
The same tables are what the code reads (\`fields\` in \`src/families\`).
Defaults are those of the published class, as of transformers 5.24; \`-\` is a field without one. Of two names of a field the alias
wins, as there. A field that is in no table is one that the published class does not know either: it has no effect.

\`bench/peers/config_variants.py\` puts 400 variants of each family through transformers, and \`tests/families/variants.test.ts\` compares what we read
with what its models read, layer by layer, rotary frequencies too. Ours is stricter where a row says so, and more lenient in two things: \`1\` is
\`1.0\`, and a null means what the class says that it means.

\`npx vitest run tests/families/tables.test.ts -u\` writes this page anew.
`

function row([name, field]: [string, Field]): string {
  const cells = {
    used: () => field.role === 'used' && [defaultOf(field), 'used', field.says],
    alias: () => field.role === 'alias' && ['', 'used', `another name of \`${field.of}\``],
    'without effect': () => field.role === 'without effect' && ['', 'without effect', field.why],
    refused: () => field.role === 'refused' && ['', 'refused', `unless ${field.expected}`],
  }[field.role]() as string[]
  return `| \`${name}\` | ${cells.join(' | ')} |`
}

function defaultOf(field: Field): string {
  const value = field.role === 'used' ? field.schema.safeParse(undefined) : undefined
  return value?.success && value.data !== undefined ? `\`${JSON.stringify(value.data)}\`` : '-'
}

const TABLE = '| field | default | | |\n|---|---|---|---|\n'

function rows(fields: FieldTable): string {
  return Object.entries(fields)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(row)
    .join('\n')
}

/** What a family has beside what all have, or in its place. */
function own(fields: FieldTable): FieldTable {
  return Object.fromEntries(Object.entries(fields).filter(([name, field]) => shared[name] !== field))
}

const shared: FieldTable = decoderFields

function page(): string {
  const sections = RUNNABLE.map(
    ({ modelType, fields }) => `\n## ${modelType}\n\n${TABLE}${rows(own(fields))}\n`,
  )
  return `${HEAD}\n## In every family\n\n${TABLE}${rows(shared)}\n${sections.join('')}`
}

/** What published classes have no default for that a model can be made of. */
const NEEDED: Record<string, object> = {
  glm4_moe: { head_dim: 128 },
  deepseek_v2: { num_experts_per_tok: 6 },
}
const read = (model_type: string, more: object) =>
  runnableConfig({ model_type, ...NEEDED[model_type], ...more }, 'c.json').config

/** What sets a family apart, by the config of its published class. */
function inWords(modelType: string): string {
  const config = read(modelType, {})
  const kinds = [...new Set(config.layers.map(({ attention }) => attention))]
  const attention = kinds.flatMap((own) =>
    own.kind === 'latent'
      ? ['latent']
      : [
          own.qkNorm && `queries and keys normed ${own.qkNorm}`,
          own.sinks && 'sinks',
          own.slidingWindow && `window${kinds.length > 1 ? ' in some layers' : ''}`,
          own.chunk && 'chunks',
          !own.rope && 'layers without rotation',
          own.unitNorm && 'norm after rotating',
        ],
  )
  const moe = config.layers.map(({ feedForward }) => feedForward).find((own) => own.kind === 'moe')
  const { router } = moe ?? {}
  const mixture = moe &&
    router && [
      `${router.topK} of ${router.numExperts}`,
      WEIGHTS[router.weighting](router.scoring),
      router.weighsInput && "on the expert's input",
      router.scoreBias && 'chosen with a bias',
      router.groupLimit && `best ${router.groupLimit.keep} of ${router.groupLimit.groups} groups`,
      moe.sharedExpert && `shared expert${moe.sharedExpert.gate ? ' with a gate' : ''}`,
      moe.clamp && 'clamped',
    ]
  const more = [config.norms && 'LayerNorm', config.multipliers && 'multipliers']
  const listed = (words: unknown[]) => [...new Set(words.filter(Boolean))].join(', ')
  return `| \`${modelType}\` | ${listed([...attention, ...more]) || 'grouped-query'} | ${mixture ? listed(mixture) : 'dense'} |`
}

const WEIGHTS: Record<RouterConfig['weighting'], (scoring: string) => string> = {
  scores: (scoring) => scoring,
  normalized: (scoring) => `${scoring}, to sum to one`,
  'softmax-of-chosen': () => 'softmax of the chosen',
  'sigmoid-of-chosen': () => 'sigmoid of the chosen',
  sparsemixer: () => 'sparsemixer',
}

test("README's table of families is made of what the code reads", async () => {
  const file = join(REPOSITORY, 'README.md')
  const table = [
    '| model_type | attention, norms | mixture, by default |',
    '|---|---|---|',
    ...RUNNABLE.map(({ modelType }) => inWords(modelType)),
  ]
  const written = readFileSync(file, 'utf8').replace(
    /(\|.*\n)*\| `mixtral` \|.*\n(\|.*\n)*/,
    `${table.join('\n')}\n`,
  )
  await expect(written).toMatchFileSnapshot(file)
})

/** Lines of a family's own file; what several share stands in files of their own, which no family is named after. */
function linesOf(file: string): number {
  return readFileSync(join(REPOSITORY, 'src/families', file), 'utf8')
    .trimEnd()
    .split('\n').length
}

test('docs/adding-a-family.md shows a family as it is', async () => {
  const source = readFileSync(join(REPOSITORY, 'src/families/olmoe.ts'), 'utf8')
  const lines = RUNNABLE.map(({ modelType }) => {
    const file = `${modelType.replaceAll('_', '-')}.ts`
    return `| \`${modelType}\`, \`src/families/${file}\` | ${linesOf(file)} |`
  })
  const page = `# Adding a family

The whole of what OLMoE took on top of blocks that were there: one file, and two lines in \`src/families/index.ts\`, its import and its
name in the list. A family maps config.json to the one description of a model (\`src/model/config.ts\`) and published tensor names to
ours (\`src/families/names.ts\`); it knows no tensors and no files, and nothing else knows it. What the description cannot say yet is a new
option of a block there, with the steps that compute it and a test against the slow definition; CONTRIBUTING.md says where.

\`\`\`
src/families/olmoe.ts

${source.trimEnd()}
\`\`\`

Test: its checkpoint in \`tests/fixtures/olmoe\` with a line in \`tests/fixtures/index.json\`, and its options in
\`tests/families/arbitrary.ts\`: all small models of the family are then run recorded, op by op, with every expert, token by token and beside
padding, saved and loaded again, counted, and their routers stepped through.

| family | lines |
|---|---|
${lines.join('\n')}

\`npx vitest run tests/families/tables.test.ts -u\` writes this page, the README's table and docs/families.md anew.
`
  await expect(page).toMatchFileSnapshot(join(REPOSITORY, 'docs/adding-a-family.md'))
})

test('docs/families.md is the tables that the code reads', async () => {
  await expect(page()).toMatchFileSnapshot(join(REPOSITORY, 'docs/families.md'))
})

test("a family is an architecture of its own, or another's by its own name", () => {
  expect(RUNNABLE.map(({ modelType }) => modelType).sort()).toEqual([...ARCHITECTURES, 'kimi_k2'].sort())
  const { config } = findPublished('moonshotai/Kimi-K2-Instruct') as PublishedModel
  const as = (model_type: string) => runnableConfig({ ...config, model_type }, 'c.json').config
  expect(config.model_type).toBe('kimi_k2')
  expect(as('kimi_k2')).toEqual(as('deepseek_v3'))
})

describe('absent is not null', () => {
  test.each([
    ['mixtral', 1, [2]],
    ['llama', 1, [2]],
    ['glm4_moe', null, []],
  ])('%s', (type, bos, eos) => {
    expect(read(type, {})).toMatchObject({ bosTokenId: bos, eosTokenIds: eos })
    const none = read(type, { bos_token_id: null, eos_token_id: null })
    expect(none).toMatchObject({ bosTokenId: null, eosTokenIds: [] })
    expect(read(type, formatted(none))).toMatchObject({ bosTokenId: null, eosTokenIds: [] })
  })
})

describe('another name of a field', () => {
  test('counts as the field, and wins over it', () => {
    const experts = (type: string, more: object) => {
      const { feedForward } = read(type, more).layers[1]
      return feedForward.kind === 'moe' && feedForward.router.numExperts
    }
    expect(experts('mixtral', { num_experts: 4 })).toBe(4)
    expect(experts('mixtral', { num_experts: 4, num_local_experts: 6 })).toBe(4)
    expect(experts('glm4_moe', { num_local_experts: 16 })).toBe(16)
    expect(read('llama', { hidden_act: 'swish' })).toEqual(read('llama', { hidden_act: 'silu' }))
  })

  test('is what a message names', () => {
    expect(() => read('mixtral', { num_experts: 'x' })).toThrow(
      'c.json: "num_experts" is "x", expected number',
    )
    expect(() => read('mixtral', { num_experts: 4, num_local_experts: 'x' })).toThrow(
      '"num_local_experts" is "x"',
    )
  })

  test('in what can be counted as in what runs', () => {
    const json = { model_type: 'mixtral', num_experts: 4, hidden_act: 'swish' }
    expect(shapeFromJson(json, 'c.json').shape).toEqual(runnableConfig(json, 'c.json').config)
  })
})

test.each<[object, string]>([
  [{ is_causal: false }, '"is_causal" is false, expected true: tokens see those before them'],
  [{ is_causal: null }, '"is_causal" is null, expected true'],
  [
    { layer_types: ['sliding_attention'], num_hidden_layers: 1 },
    '"layer_types" is ["sliding_attention"], expected "full_attention" for each',
  ],
  [
    { layer_types: ['full_attention'], num_hidden_layers: 2 },
    '"layer_types" is ["full_attention"], expected',
  ],
  [{ sliding_window: 4096 }, '"sliding_window" is 4096, expected null: every token before is seen'],
  [{ attention_chunk_size: 8 }, '"attention_chunk_size" is 8, expected null'],
  [{ per_layer_config: { 0: { head_dim: 8 } } }, '"per_layer_config" is {"0":{"head_dim":8}}, expected none'],
  [{ transformers_weights: 'a.safetensors' }, '"transformers_weights" is "a.safetensors", expected null'],
  [{ rope_theta: null }, '"rope_theta" is null, expected a number above 0'],
  [
    { rope_parameters: { full_attention: {} } },
    '"rope_parameters.full_attention" is an object, expected one set of rotary',
  ],
  [
    { rope_scaling: { type: 'dynamic', factor: 4 } },
    '"rope_scaling.rope_type" is "dynamic", expected one of default, linear, llama3, yarn',
  ],
  [
    { rope_scaling: { type: 'linear', factor: 4, partial_rotary_factor: 0.5 } },
    '"partial_rotary_factor" is 0.5, expected 1 with rope_type linear',
  ],
  [
    { quantization_config: { quant_method: 'gptq' } },
    '"quantization_config.quant_method" is "gptq", expected weights that are not quantised, fp8 in blocks, mxfp4, or compressed-tensors',
  ],
  [
    { quantization_config: { quant_method: 'fp8' } },
    '"quantization_config.weight_block_size" is missing, expected',
  ],
  [
    { quantization_config: { load_in_4bit: true } },
    '"quantization_config" is {"load_in_4bit":true}, expected weights that are not quantised',
  ],
  [
    { compression_config: { quant_method: 'compressed-tensors' } },
    '"compression_config.quant_method" is "compressed-tensors"',
  ],
])('%o is refused by name', (more, message) => {
  expect(() => read('llama', more)).toThrow(ConfigError)
  expect(() => read('llama', more)).toThrow(`c.json: ${message}`)
})

test.each<object>([
  { is_causal: true, layer_types: ['full_attention'], num_hidden_layers: 1, sliding_window: null },
  { per_layer_config: {}, attention_chunk_size: null, quantization_config: null },
  { partial_rotary_factor: 0.5, attention_dropout: 0.5, a_field_that_nobody_knows: [1] },
])('%o changes nothing', (more) => {
  expect(read('llama', { num_hidden_layers: 1, ...more })).toEqual(read('llama', { num_hidden_layers: 1 }))
})

test('quantised weights can be counted', () => {
  const json = { model_type: 'mixtral', quantization_config: { quant_method: 'fp8' } }
  expect(shapeFromJson(json, 'c.json').shape.layers).toHaveLength(32)
})

describe('rotary settings in two dialects', () => {
  const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 }
  const ropeOf = (more: object) => {
    return groupedIn(read('mixtral', more)).rope
  }

  test('rope_scaling stands in the place of rope_parameters, theta and all', () => {
    const plain = { rope_theta: 5e5, rope_type: 'default' }
    expect(ropeOf({ rope_parameters: plain, rope_scaling: { ...llama3, rope_theta: 7 } })).toMatchObject({
      theta: 7,
      scaling: { type: 'llama3', originalMaxPositionEmbeddings: 131072 },
    })
    expect(ropeOf({ rope_parameters: plain, rope_scaling: { type: 'linear', factor: 2 } })).toEqual({
      theta: 1e6,
      scaling: { type: 'linear', factor: 2 },
    })
    for (const rope_scaling of [null, {}]) {
      expect(ropeOf({ rope_parameters: plain, rope_scaling }).theta).toBe(5e5)
    }
    expect(ropeOf({ rope_parameters: { rope_type: 'default' }, rope_theta: 3 }).theta).toBe(3)
  })

  test('original_max_position_embeddings beside them wins', () => {
    const settings = { ...llama3, original_max_position_embeddings: 64 }
    const more = { rope_scaling: settings, original_max_position_embeddings: 32 }
    expect(ropeOf(more).scaling).toMatchObject({ originalMaxPositionEmbeddings: 32 })
  })

  test.each<[object, number]>([
    [{}, 64],
    [{ partial_rotary_factor: null }, 128],
    [{ partial_rotary_factor: 0.25 }, 32],
    [{ partial_rotary_factor: 0.25, rope_parameters: { partial_rotary_factor: 0.75 } }, 96],
    [{ rope_parameters: { partial_rotary_factor: 0.75 }, rope_scaling: { type: 'default' } }, 64],
  ])('glm4_moe %o rotates %d channels', (more, channels) => {
    expect(groupedIn(read('glm4_moe', { head_dim: 128, ...more })).rope.rotaryDim).toBe(channels)
  })
})
