/** Tokens a step may take; a prompt is cut into these, the last piece padded up. */
const STEP_TOKENS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
/** Up to here padding a piece up costs less than another step. */
const PAD_UP_TO = 64

/** A run of a call's columns that one step takes. */
export interface Piece {
  /** First of the call's T columns. */
  from: number
  /** Columns it takes. */
  count: number
  /** Tokens of the step that serves it; what is over is padding on the right, overwritten by the next piece. */
  stepTokens: number
}

/** T columns as pieces: as few as possible, and little padding. */
export function cutInPieces(T: number): Piece[] {
  const pieces: Piece[] = []
  for (let from = 0; from < T; ) {
    const rest = T - from
    const paddedUp = STEP_TOKENS.find((size) => size >= rest)
    const whole = STEP_TOKENS.findLast((size) => size <= rest) as number
    const stepTokens = paddedUp !== undefined && paddedUp <= PAD_UP_TO ? paddedUp : whole
    const count = Math.min(rest, stepTokens)
    pieces.push({ from, count, stepTokens })
    from += count
  }
  return pieces
}
