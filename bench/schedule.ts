/** A piece of the bench that can be given more or less time. */
export interface Task {
  what: string
  /** Its share, measured in seconds that it would like. */
  seconds: number
  run(time: TaskTime): Promise<void>
  /** Called instead when no time is left. */
  leaveOut(why: string): void
}

export interface TaskTime {
  /** The task's share. */
  budgetMs: number
  /** What it may take for its most telling part, at the cost of the tasks after it. */
  mostMs: number
  /** What is left for it and all tasks after it. */
  leftMs: number
}

/** More than so many times the seconds it would like help no task. */
const MOST = 3
/** A task's most telling part may take this share of all the time that is left: half an answer early beats many empty rows. */
const TELLING_SHARE = 0.25

export interface Schedule {
  /** When all of it has to be over, in ms of `now`; null: whenever it is. */
  end: number | null
  signal: AbortSignal
  onProgress(share: number, what: string): void
  /** Called behind each task. */
  onDone?(): void
  now?: () => number
}

/**
 * Runs tasks one after the other. Each gets its share of the time that is left when it starts, so what one takes too much or
 * leaves over is spread over those after it.
 */
export async function runTasks(tasks: Task[], schedule: Schedule): Promise<void> {
  const { end, signal, onProgress, onDone, now = () => performance.now() } = schedule
  const all = secondsOf(tasks)
  for (const [i, task] of tasks.entries()) {
    if (signal.aborted) return
    const ahead = secondsOf(tasks.slice(i))
    onProgress(1 - ahead / all, task.what)
    const most = 1000 * MOST * task.seconds
    const left = end === null ? Number.POSITIVE_INFINITY : end - now()
    if (left <= 0) {
      task.leaveOut('the time of the preset was spent')
      continue
    }
    const budgetMs = Math.min(most, (left * task.seconds) / ahead)
    const mostMs = Math.max(budgetMs, Math.min(2 * most, TELLING_SHARE * left))
    await task.run({ budgetMs, mostMs, leftMs: left })
    onDone?.()
  }
}

/** What tasks take at most when nothing ends them. */
export function mostSeconds(tasks: Task[]): number {
  return MOST * secondsOf(tasks)
}

function secondsOf(tasks: Task[]): number {
  return tasks.reduce((sum, { seconds }) => sum + seconds, 0)
}
