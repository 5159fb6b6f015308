import { basename } from 'node:path'
import { z } from 'zod'
import { messageOf, TinymoeError } from '../../src/errors.ts'
import { ending, type Parent, runCommand } from '../processes.ts'
import type { PeerReport, PeerRow } from '../schema.ts'
import { modelWork, type PeerWork, peerRow } from './work.ts'

const REPETITIONS = 5
/** Layers that go to the card: all, or none. */
const ALL_LAYERS = 999

/** What `llama-bench -o json` prints, as far as it is needed (tools/llama-bench in ggml-org/llama.cpp). */
const Output = z
  .array(
    z.object({
      build_commit: z.string(),
      build_number: z.number().optional(),
      backends: z.string().optional(),
      model_type: z.string(),
      n_threads: z.number(),
      n_prompt: z.number(),
      n_gen: z.number(),
      /** Tokens in the cache before; newer builds only. */
      n_depth: z.number().default(0),
      samples_ns: z.array(z.number()).min(1),
    }),
  )
  .min(1)

type Test = z.infer<typeof Output>[number]

/**
 * llama.cpp on a GGUF file of the person's choice: the prompt and the tokens that our model's cases have.
 * @throws TinymoeError with why there is no report
 */
export async function llamaBench(
  { binary, gguf }: { binary: string; gguf: string },
  { model: { runtime }, plan }: PeerWork,
  parent: Parent,
): Promise<PeerReport> {
  const { prefill, decode } = modelWork(plan)
  const flags = {
    '-m': gguf,
    '-p': prefill,
    '-n': decode,
    '-r': REPETITIONS,
    '-t': runtime.threads,
    '-ngl': runtime.device === 'cuda' ? ALL_LAYERS : 0,
    '-o': 'json',
  }
  const args = Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)])
  const finished = await runCommand(binary, args, parent)
  const { code, stdout, failure } = finished
  if (failure) throw new TinymoeError(`${binary} cannot be started (${failure})`)
  if (code !== 0) throw new TinymoeError(`${binary} ${ending(finished)}`)
  try {
    return reportOf(Output.parse(JSON.parse(stdout)), gguf)
  } catch (error) {
    const [cause] = messageOf(error).split('\n')
    throw new TinymoeError(`what ${binary} printed is not the JSON of a llama-bench (${cause})`)
  }
}

function reportOf(tests: Test[], gguf: string): PeerReport {
  const [{ build_commit, build_number, backends, model_type, n_threads }] = tests
  return {
    library: 'llama.cpp',
    what: `${basename(gguf)} (${model_type})`,
    versions: {
      'llama.cpp': build_number === undefined ? build_commit : `${build_number} (${build_commit})`,
      ...(backends === undefined ? {} : { backends }),
    },
    threads: n_threads,
    rows: tests.filter((test) => test.n_prompt === 0 || test.n_gen === 0).map(rowOf),
  }
}

/** `pp`: a prompt at once; `tg`: tokens one by one, shown per token. Nanoseconds of a whole repetition. */
function rowOf({ n_prompt, n_gen, n_depth, samples_ns }: Test): PeerRow {
  const reads = n_gen === 0
  const calls = reads ? 1 : n_gen
  return peerRow(
    {
      implementation: reads ? `pp${n_prompt}` : `tg${n_gen}`,
      kind: reads ? 'prefill' : 'decode',
      tokens: reads ? n_prompt : 1,
      batch: 1,
      context: n_depth + (reads ? n_prompt : Math.floor(n_gen / 2) + 1),
    },
    samples_ns.map((ns) => ns / 1e6 / calls),
  )
}
