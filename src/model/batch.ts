import { shown } from '../checks.ts'
import { InputError } from '../errors.ts'

/** B sequences of equal length T after left padding. */
export interface Batch {
  /** B */
  size: number
  /** T */
  length: number
  /** [B T] row-major; padding holds token 0, which nothing looks at. */
  tokens: Int32Array
  /** Per sequence T flags: 1 token, 0 padding. */
  mask: Uint8Array[]
  /** Indices of the real tokens among the B T rows. */
  realRows: Int32Array
  /** Position of every row, given each sequence's first; padding counts as the first. */
  positions(first: number[]): Int32Array
  /** The real tokens in order, given each sequence's first position. */
  rows(first: number[]): { sequence: number; position: number; token: number }[]
}

/**
 * One sequence or several as a batch.
 * @throws InputError naming sequence, place and value
 */
export function toBatch(input: number[] | number[][], vocabSize: number, attentionMask?: number[][]): Batch {
  const sequences = (Array.isArray(input[0]) ? input : [input]) as number[][]
  sequences.forEach((tokens, b) => {
    checkTokens(tokens, b, vocabSize)
  })
  const length = Math.max(...sequences.map((tokens) => tokens.length))
  const mask = attentionMask
    ? checkedMask(attentionMask, sequences)
    : sequences.map((tokens) => Uint8Array.from({ length }, (_, t) => (t < length - tokens.length ? 0 : 1)))
  const tokens = new Int32Array(sequences.length * length)
  sequences.forEach((sequence, b) => {
    tokens.set(sequence, (b + 1) * length - sequence.length)
  })
  const flat = mask.flatMap((row) => [...row])
  return {
    size: sequences.length,
    length,
    tokens,
    mask,
    realRows: Int32Array.from(flat.keys()).filter((row) => flat[row]),
    positions: (first) => positionsOf(mask, first),
    rows: (first) => {
      const positions = positionsOf(mask, first)
      return flat.flatMap((real, row) =>
        real ? [{ sequence: Math.floor(row / length), position: positions[row], token: tokens[row] }] : [],
      )
    },
  }
}

function positionsOf(mask: Uint8Array[], first: number[]): Int32Array {
  return Int32Array.from(
    mask.flatMap((row, b) => {
      let next = first[b]
      return Array.from(row, (real) => (real ? next++ : next))
    }),
  )
}

function checkTokens(tokens: number[], sequence: number, vocabSize: number): void {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens))
    throw new InputError(`tokens: sequence ${sequence} is ${shown(tokens)}, expected a list of token ids`)
  if (tokens.length === 0)
    throw new InputError(`tokens: sequence ${sequence} is empty, expected at least one token`)
  const bad = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize)
  if (bad >= 0) {
    throw new InputError(
      `tokens: sequence ${sequence} has ${shown(tokens[bad])} at position ${bad}, expected an integer from 0 to ${vocabSize - 1}`,
    )
  }
}

function checkedMask(attentionMask: number[][], sequences: number[][]): Uint8Array[] {
  if (attentionMask.length !== sequences.length) {
    throw new InputError(
      `attentionMask: ${attentionMask.length} rows, expected ${sequences.length} (one a sequence)`,
    )
  }
  return attentionMask.map((row, b) => {
    const T = sequences[b].length
    if (row.length !== T || T !== sequences[0].length) {
      throw new InputError(
        `attentionMask: row ${b} has ${row.length} entries for ${T} tokens, expected all rows of one length`,
      )
    }
    const firstToken = row.indexOf(1)
    if (firstToken < 0 || row.some((v, t) => v !== (t < firstToken ? 0 : 1))) {
      throw new InputError(
        `attentionMask: row ${b} is [${row.slice(0, 16)}], expected zeros (padding) then ones (tokens)`,
      )
    }
    return Uint8Array.from(row)
  })
}
