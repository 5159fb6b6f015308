import { mean, sum } from '../sums.ts'

/** How much one assignment to an expert says about the kind of text, over documents of several kinds. */
export type MutualInformation = NonNullable<ReturnType<typeof mutualInformation>>

/** Assignments of one document. */
export interface DocumentCounts {
  /** Row of the table that the document belongs to, from 0. */
  kind: number
  /** [E] */
  counts: ArrayLike<number>
}

/** -sum p log2 p of counts, in bits (Shannon 1948). */
export function entropyBits(counts: Iterable<number>): number {
  const values = [...counts]
  const total = sum(values)
  return values.reduce((h, n) => (n > 0 ? h - (n / total) * Math.log2(n / total) : h), 0)
}

/** I = H(rows) + H(columns) - H(cells) of a table of counts, in bits, without any correction. */
export function mutualInformationBits(table: readonly ArrayLike<number>[]): number {
  const rows = table.map((row) => sum(Array.from(row)))
  const columns = Array.from(table[0], (_, e) => table.reduce((sum, row) => sum + row[e], 0))
  const cells = table.flatMap((row) => Array.from(row))
  return entropyBits(rows) + entropyBits(columns) - entropyBits(cells)
}

/**
 * Mutual information of kind and expert, with the bias of a finite sample taken off by a jackknife that leaves out one
 * document at a time, kind by kind (Quenouille 1956; for strata Jones 1974):
 * bias = sum over kinds of (n - 1) (mean of I without one document - I), n the kind's documents. How often a kind occurs
 * is design, not chance, so the documents left keep its weight. Miller's correction (1955), cells / 2 N ln 2, counts
 * tokens as independent; those of one document are not, so it would take off too little. Null with fewer than two kinds.
 */
export function mutualInformation(documents: readonly DocumentCounts[], kinds: number) {
  const table = tableOf(documents, kinds)
  if (new Set(documents.map(({ kind }) => kind)).size < 2) return null
  const plugInBits = mutualInformationBits(table)
  let bias = 0
  let variance = 0
  for (let kind = 0; kind < kinds; kind++) {
    const without = documents
      .filter((document) => document.kind === kind)
      .map(({ counts }) => informationWithout(table, kind, counts))
    const n = without.length
    if (n < 2) continue // one document alone shows no spread
    const centre = mean(without)
    bias += (n - 1) * (centre - plugInBits)
    variance += ((n - 1) / n) * sum(without.map((value) => (value - centre) ** 2))
  }
  const kindEntropyBits = entropyBits(table.map(sum))
  const bits = plugInBits - bias
  return {
    /** I(kind; expert) in bits, bias taken off. Near 0 it may come out a little below. */
    bits,
    /** The same of the counted table as it is, which is too large on average. */
    plugInBits,
    /** Of `bits`, over documents. */
    standardError: Math.sqrt(variance),
    /** H(kind) in bits: what `bits` could be at most. */
    kindEntropyBits,
    /** bits / kindEntropyBits: 0 when experts tell nothing about the kind, 1 when they tell all. */
    normalised: bits / kindEntropyBits,
  }
}

function tableOf(documents: readonly DocumentCounts[], kinds: number): number[][] {
  const E = documents[0].counts.length
  const table = Array.from({ length: kinds }, () => new Array<number>(E).fill(0))
  for (const { kind, counts } of documents) for (let e = 0; e < E; e++) table[kind][e] += counts[e]
  return table
}

function informationWithout(table: number[][], kind: number, counts: ArrayLike<number>): number {
  const whole = sum(table[kind])
  const scale = whole / (whole - sum(Array.from(counts)))
  return mutualInformationBits(
    table.map((row, k) => (k === kind ? row.map((n, e) => scale * (n - counts[e])) : row)),
  )
}
