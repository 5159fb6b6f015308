/**
 * E (1 - (1 - K/E)^T): a token leaves a given expert out with probability 1 - K/E. Assumes that each token chooses K
 * different experts, all equally likely, and independently of the other tokens; real tokens agree more than that.
 */
export function expectedDistinct(numExperts: number, topK: number, tokens: number): number {
  return numExperts * (1 - (1 - topK / numExperts) ** tokens)
}
