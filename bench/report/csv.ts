import type { BenchReport, Row } from '../schema.ts'

type Cell = string | number | boolean | null

/** Columns in order, and how a row fills them. New ones are added at the end, so that a reader's columns stay where they are. */
const COLUMNS: [name: string, cell: (row: Row, report: BenchReport) => Cell][] = [
  ['date', (_, { date }) => date],
  ['commit', (_, { conditions }) => conditions.commit],
  ['device', (_, { conditions }) => conditions.runtime.device],
  ['device_name', (_, { conditions }) => conditions.runtime.deviceName],
  ['threads', (_, { conditions }) => conditions.runtime.threads],
  ['preset', (_, { conditions }) => conditions.preset],
  ['id', ({ id }) => id],
  ['group', ({ group }) => group],
  ['kind', ({ kind }) => kind],
  ['dispatch', ({ dispatch }) => dispatch],
  ['executor', ({ executor }) => executor],
  ['routing', ({ routing }) => routing],
  ['d', ({ dims }) => dims?.D ?? null],
  ['h', ({ dims }) => dims?.H ?? null],
  ['e', ({ dims }) => dims?.E ?? null],
  ['k', ({ dims }) => dims?.K ?? null],
  ['tokens', ({ tokens }) => tokens],
  ['batch', ({ batch }) => batch],
  ['context', ({ context }) => context],
  ['flops', ({ flops }) => flops],
  ['flops_counted', ({ flopsCounted }) => flopsCounted],
  ['weight_bytes', ({ weightBytes }) => weightBytes],
  ['min_tokens_per_expert', ({ spread }) => spread?.minTokens ?? null],
  ['mean_tokens_per_expert', ({ spread }) => spread?.meanTokens ?? null],
  ['max_tokens_per_expert', ({ spread }) => spread?.maxTokens ?? null],
  ['n', ({ n }) => n],
  ['median_ms', ({ medianMs }) => medianMs],
  ['p10_ms', ({ p10Ms }) => p10Ms],
  ['p90_ms', ({ p90Ms }) => p90Ms],
  ['p99_ms', ({ p99Ms }) => p99Ms],
  ['outliers', ({ outliers }) => outliers],
  ['tokens_per_second', ({ tokensPerSecond }) => tokensPerSecond],
  ['gflops_per_second', ({ gflopsPerSecond }) => gflopsPerSecond],
  ['share_of_matmul', ({ shareOfMatmul }) => shareOfMatmul],
  ['share_of_bandwidth', ({ shareOfBandwidth }) => shareOfBandwidth],
  ['speedup', ({ speedup }) => speedup],
  ['speedup_low', ({ speedupLow }) => speedupLow],
  ['speedup_high', ({ speedupHigh }) => speedupHigh],
  ['ideal_speedup', ({ idealSpeedup }) => idealSpeedup],
  ['read', ({ read }) => read],
  ['read_ms', ({ readMs }) => readMs],
  ['warmup_rounds', ({ warmupRounds }) => warmupRounds],
  ['warmup_stable', ({ warmupStable }) => warmupStable],
  ['skipped', ({ skipped }) => skipped],
]

/** A line a row after the heading, by RFC 4180 (CRLF, quotes doubled); unknown is empty. Samples are in the JSON alone. */
export function benchCsv(report: BenchReport): string {
  const lines = [
    COLUMNS.map(([name]) => name),
    ...report.rows.map((row) => COLUMNS.map(([, cell]) => field(cell(row, report)))),
  ]
  return lines.map((cells) => `${cells.join(',')}\r\n`).join('')
}

function field(value: Cell): string {
  const text = value === null ? '' : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
