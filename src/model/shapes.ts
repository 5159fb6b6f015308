/**
 * The shape letters, the same everywhere in code, docs and tests.
 *
 * | letter | meaning |
 * |---|---|
 * | T | tokens in this call (a batch of B sequences is B x T rows) |
 * | D | model width (`hidden_size`) |
 * | H | width of one expert or feed-forward (`intermediate_size`) |
 * | E | experts in a layer |
 * | K | experts chosen per token |
 * | V | vocabulary |
 *
 * Attention adds B (sequences), S (keys seen so far), Nq and Nk (query and key-value heads), d (width of a head).
 */
export interface Dims {
  T: number
  D: number
  H: number
  E: number
  K: number
  V: number
}
