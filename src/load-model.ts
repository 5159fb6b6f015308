import { constants } from 'node:buffer'
import { join } from 'node:path'
import { backend } from './backend/backend.ts'
import { DTYPES, type Dtype, type HeldDtype } from './backend/dtypes.ts'
import { isInGroups } from './backend/holding.ts'
import { borrowing } from './backend/host-weights.ts'
import { onBackend } from './backend/on-backend.ts'
import { filesIn, openCheckpoint } from './checkpoint/disk.ts'
import { hubName, pulledDirectory } from './checkpoint/hub-cache.ts'
import { configOfWeights, expertNames, loadWeights, storedDtype } from './checkpoint/load.ts'
import { dequantised } from './checkpoint/quantised.ts'
import type { Checkpoint } from './checkpoint/shards.ts'
import { assertNames, assertObject, assertOneOf, assertThat } from './checks.ts'
import { BYTES_PER_WEIGHT } from './cost/bytes.ts'
import { startRuntime } from './device/index.ts'
import { gigabytes, memoryLimit, memoryProblem } from './device/memory.ts'
import { AMPERE, type RuntimeReport } from './device/report.ts'
import type { Device } from './device/types.ts'
import { CheckpointError, ConfigError, DeviceError, InputError } from './errors.ts'
import { runnableConfig } from './families/index.ts'
import { entryAt, readJson, shownPath } from './files.ts'
import { generate } from './generate/generate.ts'
import { endingAs, type GenerationConfig, readGenerationConfig } from './generate/generation-config.ts'
import type { GenerateOptions, GenerateResult } from './generate/types.ts'
import { RecordedExecutor } from './graph/executor.ts'
import type { ModelConfig } from './model/config.ts'
import { ExpertCache } from './model/expert-cache.ts'
import type { ForwardOptions } from './model/forward-options.ts'
import { type ForwardResult, type GreedyResult, MoeModel } from './model/transformer.ts'
import { DISPATCHES, type DispatchName, EXECUTORS, type Executor } from './model/ways.ts'
import {
  allTensors,
  type ExpertReads,
  expertsOnDisk,
  type ModelWeights,
  sumOfReads,
} from './model/weights.ts'
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
   * What matrices of weights are held in, routers' excepted, default `auto`: as they are stored, without TensorFlow in float32; on a
   * card too, but those stored in groups in bfloat16. A half type that is asked for is also what graphs multiply many rows in, where the
   * device does it faster; else products are of float32 numbers. On a processor weights in groups stay so where bfloat16 is asked for.
   */
  dtype?: Dtype | 'auto'
  /** Threads of TensorFlow's ops, fixed by the first start in a process; default: all (`TINYMOE_THREADS` overrides). */
  threads?: number
  /** Lets TensorFlow's own messages through. */
  debug?: boolean
  /**
   * Keeps routed experts in the file and reads them when a token is sent to them. So many bytes of them are in memory, those that were
   * needed last; default: all are, from the beginning.
   */
  expertsOnDisk?: number
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
    /** What experts that stay on disk are read from; null where all are in memory. */
    private readonly checkpoint: Checkpoint | null = null,
  ) {
    super(config, weights, dispatch)
    this.recorded = executor === 'recorded' ? new RecordedExecutor(this, multipliedIn) : null
  }

  /** Through the executor; what a graph cannot serve runs eagerly, on the same cache. */
  protected override runForward(tokens: number[] | number[][], options: ForwardOptions): ForwardResult {
    return onBackend(this.runtime.backend, () => {
      const { recorded } = this
      if (recorded?.serves(tokens, options)) return recorded.forward(tokens, options)
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
      if (recorded?.serves(tokens, options)) return recorded.greedy(tokens, options)
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

  /** Of experts that stay on disk, since the model was loaded; null where all are in memory. */
  get expertReads(): ExpertReads | null {
    return this.checkpoint && sumOfReads(expertsOnDisk(this.weights).map(({ reads }) => reads))
  }

  override dispose(): void {
    this.recorded?.dispose()
    super.dispose()
    this.checkpoint?.close()
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
  const files = openCheckpoint(dir, (name) => family.ignored(name, published))
  const checkpoint = dequantised(files, quantisation)
  let staysOpen = false
  try {
    const { config, remarks } = configOfWeights(checkpoint, endingAs(published, generation), family)
    const { report } = await startRuntime({
      device: options.device,
      threads: options.threads,
      debug: options.debug,
    })
    const executor = executorFor(options, report)
    const stored = storedDtype(checkpoint)
    const { held: dtype, multiplied } = dtypesFor(options.dtype, report, stored)
    const { expertsOnDisk: budget } = options
    const experts = () => expertNames(checkpoint, config, family)
    checkSize(checkpoint, { ignored: (name) => family.ignored(name, config), experts, budget }, dtype, report)
    const tokenizer = await loadTokenizer(dir)
    const weights = onBackend(report.backend, () =>
      loadWeights(checkpoint, config, family, {
        dtype,
        onProgress: options.onProgress,
        onHost: executor === 'recorded' && backend().onCard,
        onDisk: budget === undefined ? undefined : new ExpertCache(budget),
        largestStack: constants.MAX_LENGTH,
      }),
    )
    staysOpen = expertsOnDisk(weights).length > 0
    return new LoadedModel(
      dir,
      config,
      weights,
      options.dispatch ?? 'auto',
      tokenizer,
      report,
      executor,
      dtype === 'auto' ? stored : dtype,
      multiplied,
      generation,
      [...remarks, ...widenedOnCard(dir, options.dtype, report, stored)],
      staysOpen ? checkpoint : null,
    )
  } finally {
    if (!staysOpen) checkpoint.close()
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
  expertsOnDisk: 0,
  onProgress: 0,
} satisfies Record<keyof LoadOptions, 0>

/** Before anything is read: what the machine would otherwise find out by running out of memory. */
function checkSize(
  { dir, names, get }: Checkpoint,
  { ignored, experts, budget }: { ignored(name: string): boolean; experts(): Set<string>; budget?: number },
  dtype: Dtype | 'auto',
  report: RuntimeReport,
): void {
  const held = (name: string) => {
    const { shape, bytes, holding } = get(name)
    const ofNumbers = (dtype === 'float32' ? BYTES_PER_WEIGHT : BYTES_PER_WEIGHT / 2) * product(shape)
    return dtype === 'auto' ? (holding ? bytes : BYTES_PER_WEIGHT * product(shape)) : ofNumbers
  }
  const used = names().filter((name) => !ignored(name))
  const limit = memoryLimit(report)
  const all = sum(used.map(held))
  if (memoryProblem(all, limit) === null) return
  const routed = experts()
  const ofExperts = sum(used.filter((name) => routed.has(name)).map(held))
  const others = all - ofExperts
  const problem = memoryProblem(others + Math.min(ofExperts, budget ?? ofExperts), limit)
  if (problem === null) return
  const as = dtype === 'auto' ? 'as they are stored' : `in ${dtype}`
  const fit = budget === undefined && ofExperts > 0 && memoryProblem(others, limit) === null
  const advice = fit
    ? `; ${gigabytes(ofExperts)} GB are experts, which --experts-on-disk leaves in the file`
    : ''
  throw new InputError(`${dir}: its weights, ${as}, ${problem.replace(/^needs/, 'need')}${advice}`)
}

/** The names of what is asked for; whether this device has it is known later. */
function checkLoadOptions(options: LoadOptions): void {
  assertObject('options', options, 'an object with options of loadModel')
  assertNames('options', options, OPTIONS)
  const { executor, dispatch = 'auto', dtype = 'auto', onProgress, expertsOnDisk } = options
  if (executor !== undefined) assertOneOf('executor', executor, EXECUTORS)
  assertOneOf('dispatch', dispatch, [...DISPATCHES, 'auto'])
  assertOneOf('dtype', dtype, [...DTYPES, 'auto'])
  const isBudget = expertsOnDisk === undefined || (Number.isSafeInteger(expertsOnDisk) && expertsOnDisk > 0)
  assertThat('expertsOnDisk', expertsOnDisk, isBudget, 'a number of bytes')
  const isTold = onProgress === undefined || typeof onProgress === 'function'
  assertThat('onProgress', onProgress, isTold, 'a function of the share that was read')
}

function executorFor(
  { executor: requested, expertsOnDisk }: LoadOptions,
  { backend, device }: RuntimeReport,
): Executor {
  if (expertsOnDisk !== undefined && device === 'cuda') {
    if (requested !== 'recorded') return 'eager'
    throw new DeviceError(
      'executor recorded: a graph on a card has all experts there; use eager with expertsOnDisk',
    )
  }
  const native = backend === 'tensorflow'
  if (requested === 'recorded' && !native) {
    throw new DeviceError(`executor recorded: needs TensorFlow, but the device is ${device}; use eager`)
  }
  return requested ?? (native ? 'recorded' : 'eager')
}

/** What weights are held in, and what graphs multiply them in. In groups they are fewer bytes than in the type that is asked for. */
function dtypesFor(
  asked: Dtype | 'auto' | undefined,
  report: RuntimeReport,
  stored: HeldDtype,
): { held: Dtype | 'auto'; multiplied: Dtype } {
  if (asked === 'bfloat16' && report.device === 'cpu' && isInGroups(stored)) {
    return { held: 'auto', multiplied: backend().processor?.pairs ? asked : 'float32' }
  }
  const held = heldFor(asked, report, stored)
  return { held, multiplied: held === 'auto' ? 'float32' : held }
}

function heldFor(dtype: Dtype | 'auto' = 'auto', report: RuntimeReport, stored: HeldDtype): Dtype | 'auto' {
  const { backend, device } = report
  if (dtype === 'auto') {
    if (device === 'cpu') return 'auto'
    return device === 'cuda' && isInGroups(stored) && multipliesBfloat16(report) ? 'bfloat16' : 'float32'
  }
  if (dtype === 'float32' || backend === 'tensorflow') return dtype
  throw new DeviceError(`dtype ${dtype}: needs TensorFlow, but the device is ${device}; use float32`)
}

function multipliesBfloat16({ computeCapability }: RuntimeReport): boolean {
  return Number(computeCapability) >= AMPERE
}

/** What is to be said of weights that TensorFlow has no kernels for on a card. */
function widenedOnCard(
  dir: string,
  dtype: Dtype | 'auto' = 'auto',
  report: RuntimeReport,
  stored: HeldDtype,
): string[] {
  if (dtype !== 'auto' || report.device !== 'cuda' || !isInGroups(stored)) return []
  const widened = `${dir}: its weights, ${stored}, for which TensorFlow has no kernels on a card, are widened to`
  if (multipliesBfloat16(report)) return [`${widened} bfloat16`]
  const capability = report.computeCapability ?? 'unknown'
  return [`${widened} float32, as cards of compute capability ${capability} do not multiply bfloat16`]
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
