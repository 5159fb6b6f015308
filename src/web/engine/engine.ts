import * as tf from '@tensorflow/tfjs-core'
import {
  Decisions,
  fetchFiles,
  filesInMemory,
  InputError,
  joinTraces,
  type ModelFiles,
  readModel,
  readTokenizer,
  traceFromJson,
  traceToJson,
} from '../../browser.ts'
import { mixturesOf } from '../../model/config.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import { startBackend } from './backend.ts'
import type { Loaded } from './loaded.ts'
import type { Answer, Call, Calls, ModelFacts } from './protocol.ts'
import { race } from './race.ts'
import { runText } from './run.ts'
import { textsOf } from './texts.ts'
import { vectorsOf } from './vectors.ts'

type OnShare = (share: number | null) => void

/** Models on the wasm backend, and what the page may ask of them. */
export class Engine {
  private readonly models = new Map<string, Loaded>()
  private readonly calls: {
    [C in Call]: (onShare: OnShare, ...args: Parameters<Calls[C]>) => Promise<Answer<C>>
  } = {
    load: async (onShare, id, url, bytes) => {
      const files = await fetchFiles(url, {
        onProgress: (received, total) => onShare(shareOf(received, total ?? bytes)),
      })
      return this.keep(id, files)
    },
    open: async (_, id, dir, files) => this.keep(id, filesInMemory(dir, files)),
    encode: async (_, id, text) => {
      const { tokenizer, facts } = this.find(id)
      if (!tokenizer) throw new InputError(`${facts.name}: has no tokenizer.json to read text with`)
      const tokens = await tokenizer.encode(text)
      return { tokens, texts: await textsOf(tokens, tokenizer) }
    },
    run: async (_, id, tokens, options) => runText(this.find(id), tokens, options),
    decision: async (_, id, trace, layerIndex, row) =>
      new Decisions(this.find(id).model, trace).at(layerIndex, row),
    vectors: async (_, id, tokens, layer, row) => vectorsOf(this.find(id).model, tokens, layer, row),
    recorded: async (_, id, prompt, tokens) => this.recorded(id, prompt, tokens),
    logits: async (_, id, tokens, interventions) => {
      const { logits, trace } = this.find(id).model.forward(tokens, { interventions, trace: true })
      const values = (await logits.data()) as Float32Array
      logits.dispose()
      return { logits: values, trace }
    },
    race: (onShare, id, tokens, rounds) => race(this.find(id).model, tokens, rounds, onShare),
    readTrace: async (_, json, name) => traceFromJson(json, name),
    tensors: async () => tf.memory().numTensors,
    writeTrace: async (_, trace, texts) => `${traceToJson(trace, texts)}\n`,
  }

  async call(call: Call, args: unknown[], onShare: OnShare): Promise<unknown> {
    await startBackend()
    return (this.calls[call] as (onShare: OnShare, ...args: unknown[]) => Promise<unknown>)(onShare, ...args)
  }

  private find(id: string): Loaded {
    const found = this.models.get(id)
    if (!found) throw new InputError(`${id}: this model is not loaded`)
    return found
  }

  private keep(id: string, files: ModelFiles): ModelFacts {
    const model = readModel(files)
    try {
      const tokenizer = readTokenizer(files)
      const name = files.dir.split('/').at(-1)!
      const { config, remarks } = model
      const facts = { id, name, config, hasTokenizer: tokenizer !== null, remarks }
      this.models.get(id)?.model.dispose()
      this.models.set(id, { facts, model, tokenizer })
      return facts
    } catch (error) {
      model.dispose()
      throw error
    }
  }

  private async recorded(id: string, prompt: string, length: number): Promise<RoutingTrace> {
    const { model, tokenizer, facts } = this.find(id)
    if (mixturesOf(model.config.layers).length === 0) throw new InputError(`${facts.name}: has no router`)
    const tokens = [...((await tokenizer?.encode(prompt)) ?? [])]
    if (tokens.length === 0) throw new InputError('replay: has no tokens, expected some text')
    const cache = model.createCache()
    const traces: RoutingTrace[] = []
    try {
      for (let fed = 0; fed < length; fed = tokens.length - 1) {
        const step = model.greedy(tokens.slice(fed), { cache, trace: true })
        traces.push(step.trace)
        tokens.push(step.tokens[0])
      }
      return joinTraces(traces)
    } finally {
      cache.dispose()
    }
  }
}

function shareOf(received: number, total: number | null): number | null {
  return total === null ? null : Math.min(1, received / total)
}
