import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeFolder, writeAtomically } from '../files.ts'
import type { StepResult, ValidationResult } from './trainer.ts'

/** A line of the log: a step, or a validation (which has the field `validation`). */
export type LogRecord = StepRecord | ValidationResult

export interface StepRecord extends StepResult {
  tokensPerSecond: number
}

export function logFile(out: string): string {
  return join(out, 'log.jsonl')
}

/** Starts a log, or goes on with one: what an interrupted run wrote after its last checkpoint is dropped. */
export function startLog(out: string, step: number): void {
  const kept = step > 0 ? readLog(out).filter((record) => record.step <= step) : []
  writeAtomically(logFile(out), kept.map(lineOf).join(''))
}

export function appendLog(out: string, record: LogRecord): void {
  makeFolder(dirname(logFile(out)))
  appendFileSync(logFile(out), lineOf(record))
}

export function readLog(out: string): LogRecord[] {
  if (!existsSync(logFile(out))) return []
  const lines = readFileSync(logFile(out), 'utf8').split('\n')
  return lines.slice(0, -1).map((line) => JSON.parse(line)) // what follows the last line break was cut off
}

export function isStep(record: LogRecord): record is StepRecord {
  return !('validation' in record)
}

export function isValidation(record: LogRecord): record is ValidationResult {
  return 'validation' in record
}

/** Steps at the end over which shares and losses are averaged. */
export const LAST_STEPS = 100

/** Share of the assignments of each expert [E], a row for each mixture layer: mean of the last steps. */
export function meanShares(steps: StepRecord[]): number[][] {
  const last = steps.slice(-LAST_STEPS)
  const layers = last.at(-1)?.load ?? []
  return layers.map((experts, layer) =>
    experts.map((_, e) => last.reduce((sum, { load }) => sum + load[layer][e], 0) / last.length),
  )
}

/** Six digits are more than a curve shows. */
function lineOf(record: LogRecord): string {
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
  return `${JSON.stringify(record, rounded)}\n`
}
