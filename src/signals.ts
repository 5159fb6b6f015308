import { constants } from 'node:os'

/** By these a program is asked to end: Ctrl-C; `kill`, or the system that shuts down; the terminal that was closed. */
export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
export type EndingSignal = (typeof ENDING_SIGNALS)[number]

/** As shells have it for a program that a signal ended. */
export function exitCodeOf(signal: EndingSignal): number {
  return 128 + constants.signals[signal]
}

/**
 * Has `onSignal` alone told of the signals, until the function that is returned is called: it gives them back to those who
 * listened before, or with `toSystem` to nobody, so that the next one ends the process at once, whatever it is doing.
 */
export function takeSignals(onSignal: (signal: EndingSignal) => void): (toSystem?: boolean) => void {
  const taken = ENDING_SIGNALS.map((name) => {
    const others = process.listeners(name)
    const listener = () => onSignal(name)
    process.on(name, listener)
    for (const other of others) process.off(name, other)
    return { name, listener, others }
  })
  return (toSystem = false) => {
    for (const { name, listener, others } of taken) {
      if (!toSystem) for (const other of others) process.on(name, other)
      process.off(name, listener)
    }
  }
}
