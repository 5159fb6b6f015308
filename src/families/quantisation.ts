import { isJsonObject } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { shown } from '../text/foreign.ts'

/** How a checkpoint's matrices are quantised: whole numbers in groups, packed, as the compressed-tensors library writes them. */
export interface Quantisation {
  method: 'compressed-tensors'
}

/** What the packing of whole numbers into 32 bits is called. */
export const PACKED_FORMAT = 'pack-quantized'

/** GPTQ, AWQ and others name themselves too, and are not read. @throws ConfigError naming `file` and the field */
export function quantisationOf(json: Record<string, unknown>, file: string): Quantisation | null {
  const field = ['quantization_config', 'compression_config'].find((name) => json[name] != null)
  if (!field) return null
  const settings = json[field]
  const method = isJsonObject(settings) ? settings.quant_method : undefined
  if (field !== 'quantization_config' || method !== 'compressed-tensors' || !isJsonObject(settings)) {
    const [where, value] = method === undefined ? [field, settings] : [`${field}.quant_method`, method]
    throw new ConfigError(
      `${file}: "${where}" is ${shown(value)}, expected weights that are not quantised, or compressed-tensors`,
    )
  }
  if (settings.format !== PACKED_FORMAT) {
    throw new ConfigError(
      `${file}: "${field}.format" is ${shown(settings.format)}, expected ${PACKED_FORMAT}`,
    )
  }
  return { method }
}
