import type { RuntimeReport } from '../src/device/index.ts'
import { DeviceError } from '../src/errors.ts'

/**
 * Sizes made for a card would keep a processor busy for long: that has to be asked for.
 * @throws DeviceError when there is no CUDA device and no other was asked for
 */
export function checkGpu(
  { device, candidates }: Pick<RuntimeReport, 'device' | 'candidates'>,
  asked: string | undefined,
  preset: string,
): void {
  if (device === 'cuda' || asked !== undefined) return
  const why = candidates.find((candidate) => candidate.device === 'cuda')?.reason ?? 'there is no CUDA device'
  throw new DeviceError(
    `--preset ${preset} needs a CUDA device: ${why}; with --device cpu it measures what fits on the processor`,
  )
}
