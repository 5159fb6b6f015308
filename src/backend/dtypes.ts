/** Number types that weights may be held in. */
export const DTYPES = ['float32', 'bfloat16', 'float16'] as const
export type Dtype = (typeof DTYPES)[number]
export type HalfDtype = Exclude<Dtype, 'float32'>
/** What weights may be held in: also whole numbers of 8 or 4 bits in groups, where they are stored so. */
export type HeldDtype = Dtype | 'int8' | 'int4'

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
