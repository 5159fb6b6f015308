/** Where tensors are computed, best first. */
export const DEVICES = ['cuda', 'cpu', 'wasm', 'js'] as const
export type Device = (typeof DEVICES)[number]
