import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { TestContext } from 'vitest'
import { FIXTURES } from '../helpers/golden.ts'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
export const MIXTRAL = join(FIXTURES, 'mixtral')

/** The command that runs the command line from source, for a shell; arguments follow. */
export const COMMAND = [process.execPath, '--import', 'tsx', join(REPOSITORY, 'src/cli/main.ts')]

/** For tests that wait for processes: several run at once, and the machine may be busy with more. */
export const PATIENT = { timeout: 180_000 }

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Starts `tinymoe` as a process of its own. */
export function startCli(...args: string[]): ChildProcess {
  const { TINYMOE_DEVICE: _, FORCE_COLOR: __, ...env } = process.env
  const [node, ...rest] = COMMAND
  return spawn(node, [...rest, ...args], { cwd: REPOSITORY, env, stdio: 'pipe' })
}

/** What a process said and how it ended. */
export async function outcomeOf(child: ChildProcess, input = ''): Promise<Outcome> {
  child.stdin?.end(input)
  const code = new Promise<number | null>((resolve) => child.on('close', resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)])
  return { code: await code, stdout, stderr }
}

export function tinymoe(...args: string[]): Promise<Outcome> {
  return outcomeOf(startCli(...args))
}

/** A copy of the Mixtral fixture for a test to spoil or add to; removed after it. */
export function copyOfMixtral({ onTestFinished }: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-cli-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  for (const file of ['config.json', 'model.safetensors']) cpSync(join(MIXTRAL, file), join(dir, file))
  return dir
}

/** The Mixtral fixture with a tokenizer: of its ids the model knows those below 160, single bytes. */
export function mixtralWithText(context: TestContext): string {
  const dir = copyOfMixtral(context)
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    cpSync(join(FIXTURES, 'tokenizer', file), join(dir, file))
  }
  return dir
}
