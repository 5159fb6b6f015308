/** Number types that weights may be multiplied in. */
export const DTYPES = ['float32', 'bfloat16', 'float16'] as const
export type Dtype = (typeof DTYPES)[number]
export type HalfDtype = Exclude<Dtype, 'float32'>
