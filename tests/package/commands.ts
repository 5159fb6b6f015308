import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Ended, run } from './fresh-project.ts'

/** The Nodes to try the package under, by a variable that lists them as PATH lists folders. */
export const NODES = process.env.TINYMOE_TEST_NODES?.split(':') ?? [process.execPath]

const PROMPT = ['--prompt', 'Once upon a time', '--max-tokens', '12']

/** Every backend, every kind of work; of those that print times, what they print differs from run to run. */
const COMMANDS: { args: string[]; hasTimes?: boolean }[] = [
  { args: ['--version'] },
  { args: ['inspect', 'moe'] },
  { args: ['cost'] },
  { args: ['generate', 'moe', ...PROMPT] },
  { args: ['--device', 'wasm', 'generate', 'moe', ...PROMPT] },
  { args: ['--device', 'js', 'generate', 'moe', ...PROMPT] },
  { args: ['--threads', '1', 'logits', 'moe', '--tokens', '1,5,34', '--trace'] },
  { args: ['trace', 'moe', ...PROMPT, '--out', 'trace.html'] },
  { args: ['eval', 'moe', '--samples', '1', '--domains', 'code'], hasTimes: true },
  {
    args: [
      'train',
      '--preset',
      'moe',
      '--size',
      'small',
      '--steps',
      '1',
      '--batch',
      '1',
      '--length',
      '16',
      '--out',
      'run',
    ],
    hasTimes: true,
  },
  { args: ['setup', '--check'], hasTimes: true },
  { args: ['doctor'], hasTimes: true },
]

export interface Tried {
  /** What the commands printed, by command: the same under every Node. */
  printed: Record<string, string>
  /** Commands that failed, or of which Node had something to say. */
  complaints: Record<string, Ended>
}

/** Runs commands of an installed package under a Node, in the project that has it. */
export async function tryCommands(node: string, main: string, project: string): Promise<Tried> {
  const tried: Tried = { printed: {}, complaints: {} }
  for (const { args, hasTimes } of COMMANDS) {
    rmSync(join(project, 'run'), { recursive: true, force: true })
    const ended = await run(node, [main, ...args], project)
    const command = args.join(' ')
    if (!hasTimes) tried.printed[command] = ended.stdout
    if (ended.code !== 0 || /warning|deprecat|experimental/i.test(ended.stderr)) {
      tried.complaints[command] = ended
    }
  }
  return tried
}
