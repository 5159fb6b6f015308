import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CSV_COLUMNS, traceToCsv } from '../../src/trace/csv.ts'
import { anyTrace, smallTrace } from './traces.ts'

test('one line per layer, token and rank, after a heading', () => {
  const lines = [...traceToCsv(smallTrace(), ['Once', ' "upon"', 'a,\nb'])]
  expect(lines).toHaveLength(1 + 2 * 3 * 2)
  expect(lines.slice(0, 4)).toEqual([
    'layer,sequence,position,token,text,rank,expert,weight,score,logit,margin,entropy\r\n',
    '0,0,0,10,"Once",0,0,0.75,0.5,-0.693147182,0.5,1.38629436\r\n',
    '0,0,0,10,"Once",1,1,0.25,0.25,-1.38629436,0.5,1.38629436\r\n',
    '0,0,1,11," ""upon""",0,1,0.5,0.5,-0.693147182,0.5,1.38629436\r\n',
  ])
  // dropped: expert -1, weight 0, no score and no logit; no margin either
  expect(lines.at(-2)).toBe('1,0,2,12,"a,\nb",0,-1,0,,,,1.38629436\r\n')
})

test('without a tokenizer the text is empty, not an empty text', () => {
  expect([...traceToCsv(smallTrace())][1]).toMatch(/^0,0,0,10,,0,0,/)
  expect([...traceToCsv(smallTrace(), ['', '', ''])][1]).toMatch(/^0,0,0,10,"",0,0,/)
})

test('any trace reads back from its CSV with the same float32 values', () => {
  fc.assert(
    fc.property(
      anyTrace,
      fc.array(fc.string({ unit: 'grapheme' }), { minLength: 5, maxLength: 5 }),
      (trace, texts) => {
        const [heading, ...records] = parseCsv([...traceToCsv(trace, texts)].join(''))
        expect(heading).toEqual(Object.keys(CSV_COLUMNS))
        let r = 0
        for (const layer of trace.layers) {
          for (const [t, row] of trace.rows.entries()) {
            for (let k = 0; k < layer.topK; k++) {
              const record = Object.fromEntries(records[r++].map((value, i) => [heading[i], value]))
              const expert = layer.expertIndices[t * layer.topK + k]
              const at = t * layer.numExperts + expert
              expect(record).toMatchObject({ layer: String(layer.layer), rank: String(k), text: texts[t] })
              for (const name of ['sequence', 'position', 'token'] as const) {
                expect(Number(record[name])).toBe(row[name])
              }
              expect(Number(record.expert)).toBe(expert)
              expect(floatOf(record.weight)).toBe(layer.expertWeights[t * layer.topK + k] + 0)
              expect(floatOf(record.entropy)).toBe(layer.entropies[t] + 0)
              expect(record.margin === '' ? null : Number(record.margin)).toBe(noMinusZero(layer.margins[t]))
              if (expert < 0) expect([record.score, record.logit]).toEqual(['', ''])
              else {
                expect(floatOf(record.score)).toBe(layer.scores[at] + 0)
                expect(floatOf(record.logit)).toBe(layer.routerLogits[at] + 0)
              }
            }
          }
        }
        expect(records).toHaveLength(r)
      },
    ),
  )
})

function floatOf(text: string): number {
  return Math.fround(Number(text))
}

/** CSV writes -0 as 0, which compares equal everywhere but in `toBe`. */
function noMinusZero(value: number | null): number | null {
  return value === null ? null : value + 0
}

/** RFC 4180 by its grammar. */
function parseCsv(text: string): string[][] {
  const records: string[][] = []
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy
  let record: string[] = []
  while (field.lastIndex < text.length) {
    const at = field.lastIndex
    const match = field.exec(text)
    if (!match) throw new Error(`not CSV at ${at}: ${JSON.stringify(text.slice(at, at + 20))}`)
    record.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'))
    if (match[3] === ',') continue
    records.push(record)
    record = []
  }
  return records
}
