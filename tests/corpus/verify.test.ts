import { describe, expect, test } from 'vitest'
import { DOMAINS, type Domain, generateSample, verifyText } from '../../src/corpus/index.ts'
import { bracketProblem } from '../../src/corpus/verify/index.ts'

const right: [Domain, string][] = [
  ['arithmetic', '47+85: 7+5=12 carry 1; 4+8+1=13; =132'],
  ['arithmetic', '132-85: 12-5=7 borrow 1; 13-8-1=4 borrow 1; 1-0-1=0; =47'],
  ['arithmetic', '99+1=100'],
  ['code', 'close: ( [ { -> } ] )'],
  ['code', 'function f(a, b) {\n  let c = (a + b)\n  return c\n}\nprint(f([1], 2))'],
  ['data', '{"id": 1, "item": "cup", "price": 3, "quantity": 4, "total": 12}'],
  ['data', 'id,item,price,quantity,total\n1,cup,3,4,12\n2,cup,2,2,4'],
  ['data', '{"values": [3, 1, 2], "sorted": [1, 2, 3]}'],
  ['data', 'code,check\n9999,6'],
  ['dates', '1987 = MCMLXXXVII'],
  ['dates', 'MMXXIV = 2024'],
  ['dates', '2000-02-29 = 29 February 2000'],
  ['dates', '29 February 2000 = 2000-02-29'],
  ['dates', 'The day after 31 December 1999: 1 January 2000'],
  ['dates', 'Day of the year, 1 March 2016: leap year; 60 + 1 = 61'],
  ['dates', 'Monday + 10 days: 10 = 7 + 3; Thursday'],
  ['story', 'Ben ran. "Stop!" said Mia.'],
  ['german', 'Ben lief. „Halt!“, rief Mia.'],
]

const wrong: [Domain, string, string | RegExp][] = [
  ['arithmetic', '47+85: 7+5=12 carry 1; 4+8+1=13; =133', 'result is 133, expected 132'],
  ['arithmetic', '47+85: 7+5=12; 4+8+1=13; =132', 'step 1 is "7+5=12", expected "7+5=12 carry 1"'],
  ['arithmetic', '47+85: 7+5=12 carry 1; 4+8=12; =132', 'step 2 is "4+8=12", expected "4+8+1=13"'],
  ['arithmetic', '42-15: 12-5=7 borrow 1; 4-1=3; =27', 'step 2 is "4-1=3", expected "4-1-1=2"'],
  ['arithmetic', '47+85: 7+5=12 carry 1; =132', '1 steps, expected 2'],
  ['arithmetic', '99+1=99', 'result is 99, expected 100'],
  ['arithmetic', 'hello', 'not a sum'],
  ['code', 'close: ( [ -> ) ]', '")" at'],
  ['code', 'close: ( [ -> ]', 'is not closed'],
  ['code', 'close: ( -> ) ( )', 'not a row of brackets'],
  ['code', 'print(1))', 'closes nothing'],
  ['code', 'function f(a) {\nreturn a\n}', 'line 2 is indented by 0, expected 2'],
  ['code', 'function f(a) {\n  return b\n}', '"b" is used before it is defined'],
  ['data', '{"id": 1, "item": "cup", "price": 3, "quantity": 4, "total": 13}', 'total is 13, expected 12'],
  ['data', '{"id": 1, "item": "cup", "price": 3, "quantity": 4}', 'total'],
  ['data', '{"id": 1', /JSON/],
  ['data', 'id,item,price,quantity,total\n2,cup,3,4,12\n2,cup,2,2,4', 'id 2 does not come after 2'],
  ['data', '{"values": [3, 1], "sorted": [3, 1]}', 'do not rise'],
  ['data', '{"values": [3, 1], "sorted": [1, 2]}', '2 is not among the values'],
  ['data', '{"values": [3, 1], "sorted": [1]}', '3 is missing'],
  ['data', 'code,check\n9999,5', 'check digit'],
  ['data', 'code,check\n999,7', 'not a code'],
  ['dates', '1987 = MCMLXXXVI', 'wrong'],
  ['dates', '4 = IIII', 'wrong'],
  ['dates', 'IIII = 4', 'wrong'],
  ['dates', '2001-02-29 = 29 February 2001', 'wrong'],
  ['dates', '29 Febuary 2000 = 2000-02-29', 'wrong'],
  ['dates', 'The day after 28 February 2016: 1 March 2016', 'wrong'],
  ['dates', 'Day of the year, 1 March 2016: common year; 60 + 1 = 61', 'wrong'],
  ['dates', 'Day of the year, 1 March 2016: leap year; 59 + 1 = 60', 'wrong'],
  ['dates', 'Monday + 10 days: 10 = 7 + 3; Friday', 'wrong'],
  ['dates', 'Monday + 10 days: 10 = 6 + 4; Thursday', 'wrong'],
  ['dates', 'Someday + 10 days: 10 = 7 + 3; Friday', 'no such weekday'],
  ['dates', 'soon', 'not a question about dates'],
  ['story', 'Ben  ran.', 'space out of place'],
  ['story', 'Ben ran', 'no end of a sentence'],
  ['story', 'Ben ran. he fell.', 'without a capital'],
  ['story', 'Ben ran ,fast.', 'punctuation out of place'],
  ['story', '"Stop! said Ben.', 'quotes do not pair'],
  ['german', '„Halt!", rief Ben.', 'quotes do not pair'],
  ['story', 'Ben saw $a_obj.', 'not filled in'],
]

describe('verifiers', () => {
  test.each(right)('%s: %j is right', (domain, text) => {
    expect(verifyText(domain, text)).toEqual([])
  })

  test.each(wrong)('%s: %j is wrong', (domain, text, problem) => {
    expect(verifyText(domain, text).join('\n')).toMatch(problem)
  })

  test('notice any changed digit of an arithmetic, data or dates document', () => {
    for (const domain of ['arithmetic', 'data', 'dates'] as const) {
      for (let index = 0; index < 200; index++) {
        const { text, answer } = generateSample(domain, 'train', index, 2)
        const changed = text.replace(/\d(?=\D*$)/, (digit) => String((Number(digit) + 1) % 10))
        if (/\d/.test(answer!)) expect(verifyText(domain, changed), changed).not.toEqual([])
      }
    }
  })

  test('take no domain for another', () => {
    for (const domain of DOMAINS) {
      const { text } = generateSample(domain, 'train', 0, 1)
      for (const other of ['arithmetic', 'data', 'dates'] as const) {
        if (other !== domain) expect(verifyText(other, text), `${domain} as ${other}`).not.toEqual([])
      }
    }
  })
})

test('brackets: the first that does not match is named', () => {
  expect(bracketProblem('a(b[c]{d})')).toBeUndefined()
  expect(bracketProblem('')).toBeUndefined()
  expect(bracketProblem('(]')).toBe('"]" at 1 closes "(" at 0')
  expect(bracketProblem('}')).toBe('"}" at 0 closes nothing')
  expect(bracketProblem('(()')).toBe('"(" at 0 is not closed')
})
