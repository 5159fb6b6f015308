import type { Command } from 'commander'

interface Entry {
  /** What the list of commands shows after the name, and what it says. */
  usage: string
  summary: string
  load(): Promise<(program: Command) => void>
}

/**
 * The commands in the order of the help, by name. Each module adds its command with arguments and options to the program;
 * it is loaded only when it is needed, as most bring TensorFlow.js or a whole bench with them.
 */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  generate: {
    usage: '[options] <model>',
    summary: 'continue a text',
    load: async () => (await import('./generate.ts')).registerGenerate,
  },
  chat: {
    usage: '[options] <model>',
    summary: 'talk with a model by its chat template',
    load: async () => (await import('./chat.ts')).registerChat,
  },
  logits: {
    usage: '[options] <model>',
    summary: 'logits and routing of token ids',
    load: async () => (await import('./logits.ts')).registerLogits,
  },
  trace: {
    usage: '[options] <model>',
    summary: 'see which experts each token goes to, and why',
    load: async () => (await import('./trace.ts')).registerTrace,
  },
  page: {
    usage: '[options] [model]',
    summary: 'see a mixture think: a page that runs a model in the browser',
    load: async () => (await import('./page.ts')).registerPage,
  },
  inspect: {
    usage: '[options] [model]',
    summary: 'parameters, FLOPs, bytes of a model from its shapes',
    load: async () => (await import('./inspect.ts')).registerInspect,
  },
  cost: {
    usage: '[options]',
    summary: 'what training costs, from its FLOPs, and what cheaper tokens do to spending',
    load: async () => (await import('./cost.ts')).registerCost,
  },
  bench: {
    usage: '[options]',
    summary: 'measure what sparse expert dispatch saves against dense: FLOPs, bytes and time',
    load: async () => (await import('./bench.ts')).registerBench,
  },
  train: {
    usage: '[options]',
    summary: 'train a small model',
    load: async () => (await import('./train.ts')).registerTrain,
  },
  eval: {
    usage: '[options] <model>',
    summary: 'how good a model is, and at what cost',
    load: async () => (await import('./eval.ts')).registerEval,
  },
  quantize: {
    usage: '[options] <model>',
    summary: 'write a model in 8 or 4 bits, and say what that changes',
    load: async () => (await import('./quantize.ts')).registerQuantize,
  },
  pull: {
    usage: '<org/name>',
    summary: 'bring a model from the Hugging Face Hub into its usual cache',
    load: async () => (await import('./pull.ts')).registerPull,
  },
  export: {
    usage: '[options] <model>',
    summary: 'write a model again, in another type of numbers or layout',
    load: async () => (await import('./export.ts')).registerExport,
  },
  upcycle: {
    usage: '[options] <model>',
    summary: 'make a mixture of a dense model',
    load: async () => (await import('./upcycle.ts')).registerUpcycle,
  },
  setup: {
    usage: '[options]',
    summary: 'prepare native TensorFlow for this machine (download, verify, compile its addon)',
    load: async () => (await import('./setup.ts')).registerSetup,
  },
  doctor: {
    usage: '',
    summary: 'say which device is used and why, on what it runs, and how fast it is',
    load: async () => (await import('./doctor.ts')).registerDoctor,
  },
}

/**
 * Adds what the arguments ask for: the one command that they name, or of all just what help and the remark about a misspelt
 * name list. A program with its global options only is expected; the version, if asked for, is printed here.
 */
export async function addCommands(program: Command, args: readonly string[]): Promise<void> {
  const { operands } = program.parseOptions([...args])
  const [name] = operands[0] === 'help' ? operands.slice(1) : operands
  if (name === undefined || !Object.hasOwn(COMMANDS, name)) {
    for (const [listed, { usage, summary }] of Object.entries(COMMANDS)) {
      program.command(`${listed} ${usage}`).summary(summary)
    }
    return
  }
  const { load, summary } = COMMANDS[name]
  const register = await load()
  register(program)
  const [command] = program.commands
  if (command.description() === '') command.description(summary)
}
