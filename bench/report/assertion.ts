import type { Assertion, Row } from '../schema.ts'
import { type Subject, tokenSweep } from './select.ts'

/**
 * Whether sparse beats dense by `factor` at the largest T of the layer sweep. The lower end of the interval has to reach
 * it: a median that got there by luck does not pass.
 */
export function judge(rows: Row[], factor: number, subject: Subject): Assertion {
  const largest = tokenSweep(rows, subject, 'sparse').at(-1)
  const failed = (sentence: string) => ({ factor, passed: false, sentence })
  if (!largest)
    return failed(`No layer was measured, so nothing shows that sparse is ${factor} times as fast as dense.`)
  const { tokens, speedup, speedupLow, speedupHigh, skipped } = largest
  const at = `At T=${tokens} (${subject.executor}) sparse`
  if (speedup === null || speedupLow === null || speedupHigh === null) {
    const why =
      skipped ?? (speedup === null ? 'dense was not measured' : 'there are too few samples for an interval')
    return failed(`${at} is not shown to be ${factor} times as fast as dense: ${why}.`)
  }
  const passed = speedupLow >= factor
  const measured = `${speedup.toFixed(2)} times as fast as dense (95 % interval ${speedupLow.toFixed(2)} to ${speedupHigh.toFixed(2)})`
  const verdict = `its lower end ${passed ? 'reaches' : 'does not reach'} the ${factor} asked for`
  return { factor, passed, sentence: `${at} is ${measured}; ${verdict}.` }
}
