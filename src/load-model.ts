import { join } from 'node:path'
import { backend } from './backend/backend.ts'
import { DTYPES, type Dtype, type HeldDtype } from './backend/dtypes.ts'
import { borrowing } from './backend/host-weights.ts'
import { onBackend } from './backend/on-backend.ts'
import { filesIn, openCheckpoint } from './checkpoint/disk.ts'
import { hubName, pulledDirectory } from './checkpoint/hub-cache.ts'
import { configOfWeights, loadWeights, storedDtype } from './checkpoint/load.ts'
import { dequantised } from './checkpoint/quantised.ts'
import type { Checkpoint } from './checkpoint/shards.ts'
import { assertNames, assertObject, assertOneOf, assertThat } from './checks.ts'
import { BYTES_PER_WEIGHT } from './cost/bytes.ts'
import { startRuntime } from './device/index.ts'
import { memoryLimit, memoryProblem } from './device/memory.ts'
import type { RuntimeReport } from './device/report.ts'
import type { Device } from './device/types.ts'
import { CheckpointError, ConfigError, DeviceError, InputError } from './errors.ts'
import { runnableConfig } from './families/index.ts'
import { entryAt, readJson, shownPath } from './files.ts'
import { generate } from './generate/generate.ts'
import { endingAs, type GenerationConfig, readGenerationConfig } from './generate/generation-config.ts'
import type { GenerateOptions, GenerateResult } from './generate/types.ts'
import { RecordedExecutor } from './graph/executor.ts'
import type { ModelConfig } from './model/config.ts'
import type { ForwardOptions } from './model/forward-options.ts'
import { type ForwardResult, type GreedyResult, MoeModel } from './model/transformer.ts'
import { DISPATCHES, type DispatchName, EXECUTORS, type Executor } from './model/ways.ts'
import { allTensors, type ModelWeights } from './model/weights.ts'
import { modelDirectory } from './package.ts'
import { product, sum } from './sums.ts'
import { loadTokenizer } from './tokenizer/load.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

export interface LoadOptions {
  /** Default: the best one that works here (`TINYMOE_DEVICE` overrides). */
  device?: Device
  /** How experts are run; default `auto`. */
  dispatch?: DispatchName | 'auto'
  /** How a forward is run; default `recorded` on TensorFlow, `eager` elsewhere. */
  executor?: Executor
  /**
   * What matrices of weights are held in, routers' excepted, default `auto`: as they are stored, on a card and without TensorFlow in
   * float32. A half type that is asked for is also what graphs multiply in, where the device does it faster; else products are
   * of float32 numbers.
   */
  dtype?: Dtype | 'auto'
  /** Threads of TensorFlow's ops, fixed by the first start in a process; default: all (`TINYMOE_THREADS` overrides). */
  threads?: number
  /** Lets TensorFlow's own messages through. */
  debug?: boolean
  /** Called with the share (0..1) that has been read. */
  onProgress?: (share: number) => void
}

/** A model on its device, with the tokenizer of its directory (null where there is none). */
export class LoadedModel extends MoeModel {
  private readonly recorded: RecordedExecutor | null

  constructor(
    readonly dir: string,
    config: ModelConfig,
    weights: ModelWeights,
    dispatch: DispatchName | 'auto',
    readonly tokenizer: Tokenizer | null,
    readonly runtime: RuntimeReport,
    readonly executor: Executor,
    /** What matrices of weights are held in. */
    readonly dtype: HeldDtype = 'float32',
    /** What graphs multiply many rows in, where the device has it. */
    multipliedIn: Dtype = 'float32',
    /** What its generation_config.json says; null where there is none. */
    readonly generation: GenerationConfig | null = null,
    /** What was noticed while loading, a sentence each. */
    readonly remarks: readonly string[] = [],
  ) {
    super(config, weights, dispatch)
    this.recorded = executor === 'recorded' ? new RecordedExecutor(this, multipliedIn) : null
  }

  /** Through the executor; what a graph cannot serve runs eagerly, on the same cache. */
  protected override runForward(tokens: number[] | number[][], options: ForwardOptions): ForwardResult {
    return onBackend(this.runtime.backend, () => {
      const { recorded } = this
      if (recorded && RecordedExecutor.serves(options)) return recorded.forward(tokens, options)
      return this.eagerly(() => super.runForward(tokens, options))
    })
  }

  /** Likewise; where a graph runs, only the tokens leave the device. */
  protected override runGreedy(
    tokens: number[] | number[][],
    options: Omit<ForwardOptions, 'logits'>,
  ): GreedyResult {
    return onBackend(this.runtime.backend, () => {
      const { recorded } = this
      if (recorded && RecordedExecutor.serves(options)) return recorded.greedy(tokens, options)
      return this.eagerly(() => super.runGreedy(tokens, options))
    })
  }

  /** Beside graphs, whose weights are variables, a card has those of an eager call while it runs. */
  private eagerly<R>(run: () => R): R {
    return this.recorded ? borrowing(allTensors(this.weights), run) : run()
  }

  /** Milliseconds so far in making graphs; 0 where none are used. */
  get graphsMs(): number {
    return this.recorded?.graphsMs ?? 0
  }

  override dispose(): void {
    this.recorded?.dispose()
    super.dispose()
  }

  /** Continues a text or token ids. Iterate the result for tokens as they come, or await `result.done`. */
  generate(options: GenerateOptions): GenerateResult {
    return generate(this, this.tokenizer, options)
  }
}

/**
 * Loads a Hugging Face directory (config.json, safetensors, tokenizer.json if present), a bundled model by its name, such as
 * `tinymoe:moe`, or one of the hub that was pulled into its cache, such as `allenai/OLMoE-1B-7B-0924`.
 * @throws ConfigError, CheckpointError, DeviceError or InputError, each one sentence
 */
export async function loadModel(model: string, options: LoadOptions = {}): Promise<LoadedModel> {
  checkLoadOptions(options)
  const dir = directoryOf(model)
  const { config: published, family, quantisation } = readConfig(dir)
  const generation = readGenerationConfig(filesIn(dir))
  const stored = openCheckpoint(dir, (name) => family.ignored(name, published))
  const checkpoint = dequantised(stored, quantisation)
  try {
    const { config, remarks } = configOfWeights(checkpoint, endingAs(published, generation), family)
    const { report } = await startRuntime({
      device: options.device,
      threads: options.threads,
      debug: options.debug,
    })
    const executor = executorFor(options.executor, report)
    const dtype = dtypeFor(options.dtype, report)
    checkSize(checkpoint, (name) => family.ignored(name, config), dtype, report)
    const tokenizer = await loadTokenizer(dir)
    const weights = onBackend(report.backend, () =>
      loadWeights(checkpoint, config, family, {
        dtype,
        onProgress: options.onProgress,
        onHost: executor === 'recorded' && backend().onCard,
      }),
    )
    return new LoadedModel(
      dir,
      config,
      weights,
      options.dispatch ?? 'auto',
      tokenizer,
      report,
      executor,
      dtype === 'auto' ? storedDtype(checkpoint) : dtype,
      dtype === 'auto' ? 'float32' : dtype,
      generation,
      remarks,
    )
  } finally {
    checkpoint.close()
  }
}

/** Names by type: one that the type gains or loses does not compile here. */
const OPTIONS = {
  device: 0,
  dispatch: 0,
  executor: 0,
  dtype: 0,
  threads: 0,
  debug: 0,
  onProgress: 0,
} satisfies Record<keyof LoadOptions, 0>

/** Before anything is read: what the machine would otherwise find out by running out of memory. */
function checkSize(
  { dir, names, get }: Checkpoint,
  ignored: (name: string) => boolean,
  dtype: Dtype | 'auto',
  report: RuntimeReport,
): void {
  const held = names()
    .filter((name) => !ignored(name))
    .map((name) => get(name))
    .map(({ shape, bytes, holding }) => {
      const ofNumbers = (dtype === 'float32' ? BYTES_PER_WEIGHT : BYTES_PER_WEIGHT / 2) * product(shape)
      return dtype === 'auto' ? (holding ? bytes : BYTES_PER_WEIGHT * product(shape)) : ofNumbers
    })
  const problem = memoryProblem(sum(held), memoryLimit(report))
  if (problem !== null) {
    const as = dtype === 'auto' ? 'as they are stored' : `in ${dtype}`
    throw new InputError(`${dir}: its weights, ${as}, ${problem.replace(/^needs/, 'need')}`)
  }
}

/** The names of what is asked for; whether this device has it is known later. */
function checkLoadOptions(options: LoadOptions): void {
  assertObject('options', options, 'an object with options of loadModel')
  assertNames('options', options, OPTIONS)
  const { executor, dispatch = 'auto', dtype = 'auto', onProgress } = options
  if (executor !== undefined) assertOneOf('executor', executor, EXECUTORS)
  assertOneOf('dispatch', dispatch, [...DISPATCHES, 'auto'])
  assertOneOf('dtype', dtype, [...DTYPES, 'auto'])
  const isTold = onProgress === undefined || typeof onProgress === 'function'
  assertThat('onProgress', onProgress, isTold, 'a function of the share that was read')
}

function executorFor(requested: Executor | undefined, { backend, device }: RuntimeReport): Executor {
  const native = backend === 'tensorflow'
  if (requested === 'recorded' && !native) {
    throw new DeviceError(`executor recorded: needs TensorFlow, but the device is ${device}; use eager`)
  }
  return requested ?? (native ? 'recorded' : 'eager')
}

function dtypeFor(dtype: Dtype | 'auto' = 'auto', { backend, device }: RuntimeReport): Dtype | 'auto' {
  if (dtype === 'auto') return device === 'cpu' ? 'auto' : 'float32'
  if (dtype === 'float32' || backend === 'tensorflow') return dtype
  throw new DeviceError(`dtype ${dtype}: needs TensorFlow, but the device is ${device}; use float32`)
}

/** Of a path, a bundled model, or one of the hub that was pulled. */
function directoryOf(model: string): string {
  return (typeof model === 'string' && pulledDirectory(model)) || modelDirectory(model)
}

/** The config of a model, named as for `loadModel`, and the family it belongs to. */
export function readConfig(model: string) {
  const dir = directoryOf(model)
  if (!entryAt(dir, CheckpointError)?.isDirectory()) {
    throw new CheckpointError(
      `${shownPath(dir)}: no such directory, expected a model with config.json and model.safetensors${hubName(dir) ? `; one of that name on the hub comes with tinymoe pull ${dir}` : ''}`,
    )
  }
  const file = join(dir, 'config.json')
  const entry = entryAt(file, ConfigError)
  if (!entry) throw new ConfigError(`${file}: not found, expected the model's config`)
  if (!entry.isFile()) throw new ConfigError(`${file}: is not a file, expected the model's config`)
  return runnableConfig(readJson(file, ConfigError), file)
}
