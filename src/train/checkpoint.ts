import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCheckpoint, openSafetensors } from '../checkpoint/disk.ts'
import { loadWeights } from '../checkpoint/load.ts'
import { type ExtraFiles, saveCheckpoint } from '../checkpoint/save.ts'
import { writeSafetensors } from '../checkpoint/write.ts'
import { isJsonObject } from '../checks.ts'
import { CheckpointError, InputError } from '../errors.ts'
import { readJson } from '../files.ts'
import { readConfig } from '../load-model.ts'
import type { ModelConfig } from '../model/config.ts'
import type { ModelWeights } from '../model/weights.ts'
import { modelDirectory } from '../package.ts'
import { beginningWith, type TokenizerJson } from '../text/bpe.ts'
import { servingLibrary } from '../tokenizer/load.ts'
import { openTokenizer } from '../tokenizer/open.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { storedValues } from './parameters.ts'
import { PRESET_NAMES, SIZE_NAMES } from './presets.ts'
import type { TrainSettings } from './settings.ts'
import { generatedTexts, type TextSource, textsOfFiles } from './texts.ts'
import { SPECIAL_TOKENS } from './tokenizer.ts'
import { Trainer } from './trainer.ts'

const OPTIMIZER_FILE = 'optimizer.safetensors'
const STATE_FILE = 'training.json'

interface TrainingState {
  step: number
  settings: TrainSettings
  /** As in `Training`. */
  devices: string[]
}

/** A training with what is stored beside its weights. */
export interface Training {
  trainer: Trainer
  tokenizer: TokenizerJson
  /** Where its steps were computed, in order, such as `cpu (AMD EPYC, 2 threads)`. Empty where nobody has said. */
  devices: string[]
}

/** Where a training under `out` keeps what it needs to go on. */
export function checkpointDir(out: string): string {
  return join(out, 'checkpoint')
}

/** Texts that settings name. */
export function textsOf({ corpus, seed, facts }: TrainSettings): TextSource {
  return corpus.length > 0 ? textsOfFiles(corpus) : generatedTexts(seed, facts)
}

/** A tokenizer that was trained in this process or read back. */
export function tokenizerOf(json: TokenizerJson): Tokenizer {
  return openTokenizer({ ...json }, { library: servingLibrary() })
}

/**
 * Writes model (float32), optimizer and step as a Hugging Face directory that `loadModel` reads too. A new directory
 * takes the place of the old one once it is whole; a crash between leaves one of the two.
 */
export function saveTraining(out: string, { trainer, tokenizer, devices }: Training): void {
  const dir = checkpointDir(out)
  const fresh = `${dir}.new`
  const old = `${dir}.old`
  rmSync(fresh, { recursive: true, force: true })
  saveModel(fresh, trainer, tokenizer, 'F32')
  const moments = trainer.parameters.flatMap(({ name, shape }, i) => [
    { name: `first.${name}`, shape, dtype: 'F32' as const, data: trainer.moments[i].first },
    { name: `second.${name}`, shape, dtype: 'F32' as const, data: trainer.moments[i].second },
  ])
  writeSafetensors(join(fresh, OPTIMIZER_FILE), moments)
  const state: TrainingState = { step: trainer.step, settings: trainer.settings, devices }
  writeFileSync(join(fresh, STATE_FILE), `${JSON.stringify(state, null, 2)}\n`)
  rmSync(old, { recursive: true, force: true })
  if (existsSync(dir)) renameSync(dir, old)
  renameSync(fresh, dir)
  rmSync(old, { recursive: true, force: true })
}

/** The settings of a training that stopped, without loading it. CheckpointError where there is none. */
export function readTrainingState(out: string): TrainingState {
  const file = join(existingDir(out), STATE_FILE)
  const { step, settings, devices = [] } = (readJson(file, CheckpointError) ?? {}) as Partial<TrainingState>
  if (!Number.isInteger(step) || !isJsonObject(settings))
    throw new CheckpointError(`${file}: has no "step" with "settings", expected a training's state`)
  const { preset = null, size = 'full' } = settings as Partial<TrainSettings>
  if (preset !== null && !(PRESET_NAMES.includes(preset) && SIZE_NAMES.includes(size)))
    throw new CheckpointError(
      `${file}: is of preset ${preset} in size ${size}, expected one of ${PRESET_NAMES.join(', ')} in ${SIZE_NAMES.join(' or ')}: go on with it in the version that began it`,
    )
  // what there was before there was a choice
  const older = { size: 'full', from: null, executor: 'eager', facts: null } as const
  return { step: step as number, settings: { ...older, ...settings }, devices }
}

/** The training under `out` as it stood when it was saved, on the active backend. */
export function resumeTraining(out: string): Training {
  const dir = existingDir(out)
  const { step, settings, devices } = readTrainingState(out)
  const { config, weights, tokenizer } = readModel(dir)
  const trainer = new Trainer(settings, config, weights, textsOf(settings), tokenizerOf(tokenizer), step)
  readMoments(join(dir, OPTIMIZER_FILE), trainer)
  return { trainer, tokenizer, devices }
}

/**
 * A model by its directory, or its name if it is bundled, in float32 on the active backend.
 * @throws InputError where its tokens are not those of this trainer's tokenizers
 */
export function readModel(model: string): {
  config: ModelConfig
  weights: ModelWeights
  tokenizer: TokenizerJson
} {
  const dir = modelDirectory(model)
  const { config, family } = readConfig(dir)
  const file = join(dir, 'tokenizer.json')
  const tokenizer = readJson(file, CheckpointError) as TokenizerJson
  const special = SPECIAL_TOKENS.map(
    (_, id) => tokenizer.added_tokens?.find((token) => token.id === id)?.content,
  )
  if (special.join() !== SPECIAL_TOKENS.join())
    throw new InputError(
      `${file}: its first tokens are ${special.map((token) => token ?? 'none').join(', ')}, expected ${SPECIAL_TOKENS.join(', ')}, as trained models have them`,
    )
  const checkpoint = openCheckpoint(dir, (name) => family.ignored(name, config))
  try {
    return { config, weights: loadWeights(checkpoint, config, family), tokenizer }
  } finally {
    checkpoint.close()
  }
}

/** Weights and tokenizer in the form that is shipped: a prompt begins with `<s>`, as every document in training did. */
export function saveModel(
  dir: string,
  { model, parameters }: Trainer,
  tokenizer: TokenizerJson,
  dtype: 'F32' | 'BF16',
  extra: ExtraFiles = {},
): void {
  const { config, weights } = model
  const [pad, bos, eos] = SPECIAL_TOKENS
  saveCheckpoint(dir, config, dtype, storedValues(config, parameters, weights), {
    'tokenizer.json': JSON.stringify(beginningWith(tokenizer, bos)),
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: bos,
      eos_token: eos,
      pad_token: pad,
      clean_up_tokenization_spaces: false,
      model_max_length: config.maxPositionEmbeddings,
    },
    'generation_config.json': {
      bos_token_id: SPECIAL_TOKENS.indexOf(bos),
      eos_token_id: SPECIAL_TOKENS.indexOf(eos),
      pad_token_id: SPECIAL_TOKENS.indexOf(pad),
    },
    ...extra,
  })
}

/** The checkpoint, or the one before it where a crash came between two renames. */
export function existingDir(out: string): string {
  const dir = [checkpointDir(out), `${checkpointDir(out)}.old`].find((path) =>
    existsSync(join(path, STATE_FILE)),
  )
  if (!dir)
    throw new CheckpointError(`${checkpointDir(out)}: has no ${STATE_FILE}, so there is nothing to resume`)
  return dir
}

function readMoments(file: string, { parameters, moments }: Trainer): void {
  const stored = openSafetensors(file)
  try {
    const byName = new Map(stored.tensors.map((tensor) => [tensor.name, tensor]))
    const read = (name: string, target: Float32Array) => {
      const tensor = byName.get(name)
      if (!tensor) throw new CheckpointError(`${file}: has no "${name}"`)
      target.set(tensor.read())
    }
    parameters.forEach(({ name }, i) => {
      read(`first.${name}`, moments[i].first)
      read(`second.${name}`, moments[i].second)
    })
  } finally {
    stored.close()
  }
}
