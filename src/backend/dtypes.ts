/** Number types that weights may be held in. */
export const DTYPES = ['float32', 'bfloat16', 'float16'] as const
export type Dtype = (typeof DTYPES)[number]
export type HalfDtype = Exclude<Dtype, 'float32'>
/** What numbers in groups are called: whole ones of 8 or 4 bits, floats of as many. */
export type GroupedDtype = 'int8' | 'int4' | 'fp8' | 'mxfp4'
/** What weights may be held in: also in groups, where they are stored so. */
export type HeldDtype = Dtype | GroupedDtype

/** TensorFlow's DataType numbers. */
export const DATA_TYPES = {
  float32: 1,
  int32: 3,
  uint8: 4,
  bool: 10,
  bfloat16: 14,
  float16: 19,
  resource: 20,
} as const
