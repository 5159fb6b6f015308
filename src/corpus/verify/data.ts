import { z } from 'zod'

const Purchase = z.strictObject({
  id: z.int(),
  item: z.string(),
  price: z.int(),
  quantity: z.int(),
  total: z.int(),
})
const Sorted = z.strictObject({ values: z.array(z.int()), sorted: z.array(z.int()) })
const CSV_HEADER = 'id,item,price,quantity,total'

/** What is wrong with a data document: a total, the order of the ids, a sorted copy, a check digit, or the format. */
export function dataProblems(text: string): string[] {
  try {
    if (text.startsWith(`${CSV_HEADER}\n`)) return purchaseProblems(csvRows(text))
    if (text.startsWith('code,check\n')) return checksumProblems(text.split('\n').slice(1))
    if (text.startsWith('{"values"')) return sortedProblems(Sorted.parse(JSON.parse(text)))
    return purchaseProblems(text.split('\n').map((line) => Purchase.parse(JSON.parse(line))))
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)]
  }
}

function csvRows(text: string): z.infer<typeof Purchase>[] {
  const [header, ...lines] = text.split('\n').map((line) => line.split(','))
  return lines.map((cells) =>
    Purchase.parse(
      Object.fromEntries(
        header.map((name, column) => [name, name === 'item' ? cells[column] : Number(cells[column])]),
      ),
    ),
  )
}

function purchaseProblems(rows: z.infer<typeof Purchase>[]): string[] {
  return rows.flatMap(({ id, price, quantity, total }, row) => {
    const problems: string[] = []
    if (total !== price * quantity) problems.push(`total is ${total}, expected ${price * quantity}`)
    if (row > 0 && id <= rows[row - 1].id) problems.push(`id ${id} does not come after ${rows[row - 1].id}`)
    return problems
  })
}

function sortedProblems({ values, sorted }: z.infer<typeof Sorted>): string[] {
  const rises = sorted.every((value, i) => i === 0 || sorted[i - 1] <= value)
  const rest = [...values]
  for (const value of sorted) {
    const at = rest.indexOf(value)
    if (at < 0) return [`${value} is not among the values`]
    rest.splice(at, 1)
  }
  if (rest.length > 0) return [`${rest.join(', ')} is missing from the sorted values`]
  return rises ? [] : ['the sorted values do not rise']
}

function checksumProblems(lines: string[]): string[] {
  return lines.flatMap((line) => {
    const match = /^(\d)(\d)(\d)(\d),(\d)$/.exec(line)
    if (!match) return [`not a code and its check digit: "${line}"`]
    const [a, b, c, d, check] = match.slice(1).map(Number)
    return (a + b + c + d - check) % 10 === 0 ? [] : [`check digit of "${line}" is wrong`]
  })
}
