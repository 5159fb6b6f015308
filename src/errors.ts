import { escaped } from './text/foreign.ts'

/**
 * What a person can mend: a bad file, a bad value, a missing device. The command line prints the message alone
 * (no stack without `--debug`) and exits with `exitCode`. A programming mistake stays a plain `Error`. Messages hold names and
 * words from files, so they are escaped here: one line, whatever the file says.
 */
export class TinymoeError extends Error {
  readonly exitCode: number = 1

  constructor(message: string, options?: ErrorOptions) {
    super(escaped(message), options)
    this.name = new.target.name
  }
}

/** A config.json field that is missing, of the wrong type, or contradicts another. The message names file and field. */
export class ConfigError extends TinymoeError {}

/** Weights that cannot be read or do not fit the config. The message names file, tensor and numbers. */
export class CheckpointError extends TinymoeError {}

/** A device that was asked for and cannot be had. The message names the cause and the remedy. */
export class DeviceError extends TinymoeError {}

/** TensorFlow could not be prepared. The message names the cause; the caller falls back to wasm. */
export class SetupError extends TinymoeError {}

/** A value given by the caller (flag, option, argument) that is out of range. */
export class InputError extends TinymoeError {}

/** The command line was used wrongly: exit code 2. */
export class UsageError extends TinymoeError {
  override readonly exitCode = 2
}

/** The text of anything thrown, for joining causes into one sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
