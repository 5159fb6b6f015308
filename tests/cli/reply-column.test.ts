import { describe, expect, test } from 'vitest'
import { type Mixture, ReplyColumn } from '../../src/cli/reply-column.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { displayWidth } from '../../src/text/columns.ts'

const MIXTURES: Mixture[] = [0, 1, 3].map((layer) => ({ layer, numExperts: 8 }))

/** A call whose last token went to these experts of each mixture, after another that does not count. */
function call(...experts: [number, number][]): RoutingTrace {
  const layers = experts.map((chosen) => ({ topK: 2, expertIndices: Int32Array.from([7, 6, ...chosen]) }))
  return { layers } as unknown as RoutingTrace
}
const SAME = call([0, 1], [2, 3], [4, 5])

/** A terminal of lines: a carriage return goes back to the first column, where a line is written anew. */
class Lines {
  private written = ''
  constructor(public columns: number) {}
  write(text: string): void {
    this.written += text
  }
  get lines(): string[] {
    return this.written.split('\n').map(
      (line) =>
        line
          .replace(/\r\x1b\[\d+C$|\r$/, '')
          .split('\r\x1b[K')
          .at(-1) as string,
    )
  }
}

function reply(columns: number, tokens: [string, RoutingTrace][], mixtures = MIXTURES) {
  const terminal = new Lines(columns)
  const column = new ReplyColumn(terminal, mixtures, 0)
  for (const [text, trace] of tokens) column.add(text, trace)
  return { beside: column.end(), lines: terminal.lines }
}

describe('beside each line of a reply', () => {
  test('stands how many of its tokens ran each expert, of the most', () => {
    const words = 'one two three four five six seven eight nine ten eleven'.split(' ')
    const tokens = words.map((word, i): [string, RoutingTrace] => [
      `${i > 0 ? ' ' : ''}${word}`,
      i < 4 ? SAME : call([0, i % 2 ? 2 : 3], [2, 3], [4, 5]),
    ])
    const { beside, lines } = reply(80, tokens)
    expect(beside).toBe(true)
    expect(lines).toEqual([
      `${' '.repeat(49)}  layer 0   layer 1   layer 3`,
      `${'one two three four five six seven eight nine ten'.padEnd(49)}  █▒▒▒····  ··██····  ····██··`,
      `${'eleven'.padEnd(49)}  █··█····  ··██····  ····██··`,
      '',
    ])
  })

  test('no line is wider than the terminal, and words, marks and wide characters stay whole', () => {
    const text = 'Grüße aus 東京 🙂 ñ, a\tb, '.repeat(9) + 'x'.repeat(90)
    for (const columns of [47, 48, 60, 81, 200]) {
      const { lines } = reply(
        columns,
        [...text].map((c): [string, RoutingTrace] => [c, SAME]),
      )
      for (const line of lines) expect(displayWidth(line), line).toBeLessThan(columns)
      const width = displayWidth(lines[0].replace(/ {2}layer.*/, ''))
      const words = lines.slice(1).map((line) =>
        [...line]
          .slice(0)
          .join('')
          .replace(/ {2}[·░▒▓█ ]+$/, ''),
      )
      expect(words.join('').replaceAll(' ', '')).toBe(text.replaceAll('\t', '').replaceAll(' ', ''))
      expect(width).toBeGreaterThanOrEqual(36)
    }
  })

  test('line breaks end a line, and what a terminal would obey is shown', () => {
    const { lines } = reply(80, [
      ['a\n\n', SAME],
      ['\x1b[2J\r', SAME],
      ['\u202eb', SAME],
    ])
    expect(lines.slice(1).map((line) => line.slice(0, 49).trimEnd())).toEqual([
      'a',
      '',
      '\\u{1b}[2J\\r\\u{202e}b',
      '',
    ])
  })

  test('fewer mixtures where there is less room, said so, and none where there is too little', () => {
    expect(reply(60, [['a', SAME]]).lines[0]).toMatch(/^2 of 3 mixtures +layer 0 {3}layer 1$/)
    expect(reply(46, [['a', SAME]])).toEqual({ beside: false, lines: ['a', ''] })
    expect(reply(80, [['a', call()]], [])).toEqual({ beside: false, lines: ['a', ''] })
    expect(reply(80, [])).toEqual({ beside: false, lines: [''] })
  })

  test('a terminal of another width gets a new line and heading', () => {
    const terminal = new Lines(80)
    const column = new ReplyColumn(terminal, MIXTURES, 0)
    column.add('one', SAME)
    terminal.columns = 60
    column.add(' two', SAME)
    expect(column.end()).toBe(true)
    const texts = terminal.lines.map((line) => line.split('  ')[0])
    expect(texts).toEqual(['', 'one', '2 of 3 mixtures', ' two', ''])
  })
})
