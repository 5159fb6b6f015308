import type { Random } from './random.ts'
import { drawIn } from './split.ts'
import type { Draft, Split } from './types.ts'
import { WORDS } from './words.ts'

const FORMS = { json: 35, csv: 30, sorted: 20, checksum: 15 }
type Form = keyof typeof FORMS

interface Purchase {
  item: string
  price: number
  quantity: number
}

/** Rows that obey a rule: total = price x quantity and rising ids, a sorted copy, or a check digit. */
export function data(random: Random, split: Split): Draft {
  const form = random.weighted<Form>(FORMS)
  if (form === 'sorted') return sortedRow(random, split)
  if (form === 'checksum') return checksumRows(random, split)
  return purchaseRows(form, random, split)
}

function purchaseRows(form: 'json' | 'csv', random: Random, split: Split): Draft {
  const combinations: string[] = []
  const rows: string[] = form === 'csv' ? ['id,item,price,quantity,total'] : []
  const count = random.int(2, 4)
  let id = random.int(1, 90)
  let answer = ''
  for (let row = 0; row < count; row++) {
    const purchase = drawIn(random, split, drawPurchase, purchaseKey)
    const { item, price, quantity } = purchase
    combinations.push(purchaseKey(purchase))
    rows.push(
      form === 'csv'
        ? `${id},${item},${price},${quantity},`
        : `{"id": ${id}, "item": "${item}", "price": ${price}, "quantity": ${quantity}, "total":`,
    )
    answer = form === 'csv' ? `${price * quantity}` : ` ${price * quantity}}`
    if (row < count - 1) rows[rows.length - 1] += answer
    id += random.int(1, 3)
  }
  const prompt = rows.join('\n')
  return { form, text: prompt + answer, prompt, answer, combinations }
}

function drawPurchase(random: Random): Purchase {
  return { item: random.pick(WORDS.items), price: random.int(2, 20), quantity: random.int(2, 9) }
}

function purchaseKey({ item, price, quantity }: Purchase): string {
  return `purchase ${item} ${price}x${quantity}`
}

function sortedRow(random: Random, split: Split): Draft {
  const ascending = (values: number[]) => [...values].sort((left, right) => left - right)
  const key = (values: number[]) => `sorted ${ascending(values).join(' ')}`
  const values = drawIn(random, split, drawDistinct, key)
  const prompt = `{"values": [${values.join(', ')}], "sorted":`
  const answer = ` [${ascending(values).join(', ')}]}`
  return { form: 'sorted', text: prompt + answer, prompt, answer, combinations: [key(values)] }
}

function drawDistinct(random: Random): number[] {
  const count = random.int(3, 5)
  const values = new Set<number>()
  while (values.size < count) values.add(random.int(1, 99))
  return random.shuffle([...values])
}

function checksumRows(random: Random, split: Split): Draft {
  const key = (code: string) => `code ${code}`
  const draw = (r: Random) => String(r.int(0, 9999)).padStart(4, '0')
  const codes = Array.from({ length: random.int(2, 5) }, () => drawIn(random, split, draw, key))
  const check = (code: string) => [...code].reduce((sum, digit) => sum + Number(digit), 0) % 10
  const last = codes.length - 1
  const rows = codes.map((code, row) => (row < last ? `${code},${check(code)}` : `${code},`))
  const prompt = ['code,check', ...rows].join('\n')
  const answer = `${check(codes[last])}`
  return { form: 'checksum', text: prompt + answer, prompt, answer, combinations: codes.map(key) }
}
