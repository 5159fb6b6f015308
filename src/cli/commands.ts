import type { Command } from 'commander'

type Register = (program: Command) => void

/**
 * The commands in the order of the help, by name. Each module adds its command with arguments and options to the program;
 * it is loaded only when it is needed, as most bring TensorFlow.js or a whole bench with them.
 */
export const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  generate: async () => (await import('./generate.ts')).registerGenerate,
  logits: async () => (await import('./logits.ts')).registerLogits,
  trace: async () => (await import('./trace.ts')).registerTrace,
  inspect: async () => (await import('./inspect.ts')).registerInspect,
  cost: async () => (await import('./cost.ts')).registerCost,
  bench: async () => (await import('./bench.ts')).registerBench,
  train: async () => (await import('./train.ts')).registerTrain,
  eval: async () => (await import('./eval.ts')).registerEval,
  setup: async () => (await import('./setup.ts')).registerSetup,
  doctor: async () => (await import('./doctor.ts')).registerDoctor,
}

/**
 * Adds what the arguments ask for: the one command that they name, or all, which help and the remark about a misspelt name
 * list. A program with its global options only is expected; the version, if asked for, is printed here.
 */
export async function addCommands(program: Command, args: readonly string[]): Promise<void> {
  const { operands } = program.parseOptions([...args])
  const [name] = operands[0] === 'help' ? operands.slice(1) : operands
  const wanted =
    name !== undefined && Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]] : Object.values(COMMANDS)
  for (const register of await Promise.all(wanted.map((load) => load()))) register(program)
}
