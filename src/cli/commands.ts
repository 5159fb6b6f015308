import type { Command } from 'commander'

/** What the list of commands shows after the name, and what it says; and the command's module. */
type Entry = readonly [
  usage: string,
  summary: string,
  load: () => Promise<{ register(program: Command): void }>,
]

/**
 * The commands in the order of the help, by name. Each module adds its command with arguments and options to the program;
 * it is loaded only when it is needed, as most bring TensorFlow.js or a whole bench with them.
 */
export const COMMANDS: Readonly<Record<string, Entry>> = {
  generate: ['[options] <model>', 'continue a text', () => import('./generate.ts')],
  chat: ['[options] <model>', 'talk with a model by its chat template', () => import('./chat.ts')],
  logits: ['[options] <model>', 'logits and routing of token ids', () => import('./logits.ts')],
  trace: ['[options] <model>', 'see which experts each token goes to, and why', () => import('./trace.ts')],
  page: [
    '[options] [model]',
    'see a mixture think: a page that runs a model in the browser',
    () => import('./page.ts'),
  ],
  inspect: [
    '[options] [model]',
    'parameters, FLOPs, bytes of a model from its shapes',
    () => import('./inspect.ts'),
  ],
  cost: [
    '[options]',
    'what training costs, from its FLOPs, and what cheaper tokens do to spending',
    () => import('./cost.ts'),
  ],
  bench: [
    '[options]',
    'measure what sparse expert dispatch saves against dense: FLOPs, bytes and time',
    () => import('./bench.ts'),
  ],
  train: ['[options]', 'train a small model', () => import('./train.ts')],
  eval: ['[options] <model>', 'how good a model is, and at what cost', () => import('./eval.ts')],
  quantize: [
    '[options] <model>',
    'write a model in 8 or 4 bits, and say what that changes',
    () => import('./quantize.ts'),
  ],
  pull: [
    '<org/name>',
    'bring a model from the Hugging Face Hub into its usual cache',
    () => import('./pull.ts'),
  ],
  export: [
    '[options] <model>',
    'write a model again, in another type of numbers or layout',
    () => import('./export.ts'),
  ],
  upcycle: ['[options] <model>', 'make a mixture of a dense model', () => import('./upcycle.ts')],
  setup: [
    '[options]',
    'prepare native TensorFlow for this machine (download, verify, compile its addon)',
    () => import('./setup.ts'),
  ],
  doctor: [
    '',
    'say which device is used and why, on what it runs, and how fast it is',
    () => import('./doctor.ts'),
  ],
}

/**
 * Adds what the arguments ask for: the one command that they name, or of all just what help and the remark about a misspelt
 * name list. A program with its global options only is expected; the version, if asked for, is printed here.
 */
export async function addCommands(program: Command, args: readonly string[]): Promise<void> {
  const { operands } = program.parseOptions([...args])
  const [name] = operands[0] === 'help' ? operands.slice(1) : operands
  if (name === undefined || !Object.hasOwn(COMMANDS, name)) {
    for (const [listed, [usage, summary]] of Object.entries(COMMANDS)) {
      program.command(`${listed} ${usage}`).summary(summary)
    }
    return
  }
  const [, summary, load] = COMMANDS[name]
  ;(await load()).register(program)
  const [command] = program.commands
  if (command.description() === '') command.description(summary)
}
