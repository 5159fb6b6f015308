import type { RoutingTrace } from '../model/trace.ts'
import { sum } from '../sums.ts'
import { displayWidth, fitted, fittingLength } from '../text/columns.ts'
import { escaped } from '../text/foreign.ts'
import { type ColourDepth, dim, painted } from '../trace/ansi.ts'
import { shade } from '../trace/heatmap.ts'

/** Columns that a reply gets at least; where fewer are left beside one layer, none is shown. */
const LEAST_TEXT = 36
const GAP = 2

/** A terminal that the reply is written to. */
export interface Terminal {
  columns?: number
  write(text: string): unknown
}

/** A mixture. */
export interface Mixture {
  layer: number
  numExperts: number
}

/** What a line of the reply shares its row with. */
interface Layout {
  columns: number
  textWidth: number
  /** The first mixtures, so many as there is room for. */
  shown: readonly Mixture[]
}

/** A reply as it is made, in a column of a terminal, and beside each line how many of its tokens ran each expert. */
export class ReplyColumn {
  private line = ''
  /** Calls that chose the line's tokens, and where in it these end. */
  private calls: { end: number; trace: RoutingTrace }[] = []
  private layout: Layout | null = null

  constructor(
    private readonly terminal: Terminal,
    private readonly mixtures: readonly Mixture[],
    private readonly depth: ColourDepth,
  ) {}

  /** Text that a token made certain, and the call that chose the token. */
  add(text: string, trace?: RoutingTrace): void {
    const columns = this.terminal.columns || 80 // 0 where nobody told the terminal its size
    if (this.layout?.columns !== columns) this.layOut(columns)
    this.line += shownText(text)
    if (trace) this.calls.push({ end: this.line.length, trace })
    for (let end = this.lineEnd(); end !== null; end = this.lineEnd()) this.finish(end)
    this.terminal.write(`${this.row(this.line, this.calls)}\r${cursorAt(displayWidth(this.line))}`)
  }

  /** The last line. Returns whether experts were shown beside it. */
  end(): boolean {
    if (!this.layout) return false
    this.finish(this.line.length)
    return this.layout.shown.length > 0
  }

  private layOut(columns: number): void {
    if (this.line !== '') this.finish(this.line.length) // the terminal has moved what stands there
    let room = columns - 1 - LEAST_TEXT
    const shown = this.mixtures.filter(({ numExperts }) => {
      room -= GAP + numExperts
      return room >= 0
    })
    const strips = sum(shown.map(({ numExperts }) => GAP + numExperts))
    this.layout = { columns, textWidth: Math.max(1, columns - 1 - strips), shown }
    const titles = shown.map(({ layer, numExperts }) =>
      fitted(numExperts < 8 ? `${layer}` : `layer ${layer}`, numExperts),
    )
    const what =
      shown.length < this.mixtures.length ? `${shown.length} of ${this.mixtures.length} mixtures` : ''
    const titled = [fitted(what, this.layout.textWidth), ...titles].join(' '.repeat(GAP))
    if (shown.length > 0) this.terminal.write(`${dim(titled.trimEnd(), this.depth)}\n`)
  }

  /** Where the text ends that fills the line, if it does. */
  private lineEnd(): number | null {
    const { line } = this
    const fits = fittingLength(line, this.layout!.textWidth)
    const broken = line.indexOf('\n')
    if (broken >= 0 && broken <= fits) return broken
    if (fits === line.length) return null
    const space = line.lastIndexOf(' ', fits)
    return space > 0 ? space : fits
  }

  private finish(end: number): void {
    const own = this.calls.filter((call) => call.end <= end || end === this.line.length)
    this.terminal.write(`${this.row(this.line.slice(0, end), own)}\n`)
    const next = end + Number(/[\n ]/.test(this.line[end] ?? ''))
    this.calls = this.calls
      .slice(own.length)
      .map(({ end, trace }) => ({ end: Math.max(0, end - next), trace }))
    this.line = this.line.slice(next)
  }

  private row(text: string, calls: { trace: RoutingTrace }[]): string {
    const { textWidth, shown } = this.layout!
    const strips = shown.map(({ numExperts }, i) => strip(i, numExperts, calls, this.depth))
    return `\r\x1b[K${[fitted(text, textWidth), ...strips].join(' '.repeat(GAP)).trimEnd()}`
  }
}

/** A cell an expert: how many of the calls' last tokens went to it, of the most that went to one. */
function strip(
  mixture: number,
  numExperts: number,
  calls: readonly { trace: RoutingTrace }[],
  depth: ColourDepth,
): string {
  const counts = new Array<number>(numExperts).fill(0)
  for (const { trace } of calls) {
    const { expertIndices, topK } = trace.layers[mixture]
    for (const e of expertIndices.subarray(-topK)) if (e >= 0) counts[e]++
  }
  const most = Math.max(...counts)
  return counts
    .map((count, e) => (count === 0 ? dim('·', depth) : painted(shade(count / most), e, depth)))
    .join('')
}

/** Without what a terminal would obey, but for line breaks. */
function shownText(text: string): string {
  return text.replaceAll('\t', '    ').replace(/(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu, escaped)
}

function cursorAt(column: number): string {
  return column > 0 ? `\x1b[${column}C` : ''
}
