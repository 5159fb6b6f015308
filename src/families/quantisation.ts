import { z } from 'zod'
import { isJsonObject } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { shown } from '../text/foreign.ts'
import { parseFields, positiveInt } from './fields.ts'

/** How a checkpoint's matrices are quantised: as fp8 in blocks, as mxfp4, or as whole numbers in groups, as the compressed-tensors library packs them. */
export type Quantisation =
  | { method: 'fp8'; block: [rows: number, columns: number] }
  | { method: 'mxfp4' }
  | { method: 'compressed-tensors' }

/** What the packing of whole numbers into 32 bits is called. */
export const PACKED_FORMAT = 'pack-quantized'

const fp8 = z.looseObject({
  quantization_config: z.looseObject({ weight_block_size: z.tuple([positiveInt, positiveInt]) }),
})

/** GPTQ, AWQ and others name themselves too, and are not read. @throws ConfigError naming `file` and the field */
export function quantisationOf(json: Record<string, unknown>, file: string): Quantisation | null {
  const field = ['quantization_config', 'compression_config'].find((name) => json[name] != null)
  if (!field) return null
  const settings = json[field]
  const method = isJsonObject(settings) ? settings.quant_method : undefined
  if (field === 'quantization_config' && method === 'mxfp4') return { method }
  if (field === 'quantization_config' && method === 'fp8') {
    return { method, block: parseFields(fp8, json, file).quantization_config.weight_block_size }
  }
  if (field === 'quantization_config' && method === 'compressed-tensors' && isJsonObject(settings)) {
    if (settings.format === PACKED_FORMAT) return { method }
    throw new ConfigError(
      `${file}: "${field}.format" is ${shown(settings.format)}, expected ${PACKED_FORMAT}`,
    )
  }
  const [where, value] = method === undefined ? [field, settings] : [`${field}.quant_method`, method]
  throw new ConfigError(
    `${file}: "${where}" is ${shown(value)}, expected weights that are not quantised, fp8 in blocks, mxfp4, or compressed-tensors`,
  )
}
