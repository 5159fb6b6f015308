import { InputError } from '../src/errors.ts'
import { readJson } from '../src/files.ts'
import { excerpt, placeIn, shown } from '../src/text/foreign.ts'
import { BENCH_VERSION, type BenchReport, benchSchema } from './schema.ts'

/** @throws InputError for a file that is not there, no JSON, no bench report, or one of another version */
export function readReport(source: string): BenchReport {
  const value = readJson(source, InputError)
  const { format, version } = (value ?? {}) as Partial<Record<string, unknown>>
  if (format !== 'tinymoe-bench') {
    throw new InputError(
      `${source}: is no report of tinymoe bench: format is ${format === undefined ? 'missing' : shown(format)}, expected "tinymoe-bench"`,
    )
  }
  if (version === 1) {
    throw new InputError(
      `${source}: a report of version 1, whose rows have no names to match them by, expected version ${BENCH_VERSION}: run tinymoe bench again`,
    )
  }
  const read = benchSchema.safeParse(value)
  if (read.success) return read.data
  const [{ path, message }] = read.error.issues
  throw new InputError(`${source}: ${placeIn(path)}${excerpt(message)}`)
}
