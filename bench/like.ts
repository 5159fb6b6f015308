import { modelNamed, type NamedModel } from '../src/cost/named.ts'
import { InputError, TinymoeError } from '../src/errors.ts'
import { type MoeShape, mixturesOf } from '../src/model/config.ts'
import type { LayerDims } from './schema.ts'

/** Scaled widths are rounded to multiples of this, so that products stay of sizes that kernels like. */
const MULTIPLE = 8

/** Values of sizes to try one at a time, in place of the preset's. */
export type LayerSizes = Partial<Record<keyof LayerDims, number[]>>

/** Sizes of a layer, and in words where they come from. */
export interface LayerChoice {
  dims: LayerDims
  sizes?: LayerSizes
  source: string
}

/**
 * The mixture layer of a model, D and H scaled, E and K kept. `model` is a published one's name, a directory, or a
 * config.json. Where its mixture layers differ, the most common one.
 * @throws InputError for a model that is not known, cannot be read or has no mixture layer
 */
export function layerLike(model: string, scale: number): LayerChoice {
  const { name, shape } = modelLike(model)
  const { router, intermediateSize: width } = mostCommon(mixturesOf(shape.layers), name)
  const { numExperts: E, topK: K } = router
  const scaled = (size: number) => Math.max(MULTIPLE, MULTIPLE * Math.round((size * scale) / MULTIPLE))
  if (scale === 1) {
    return { dims: { D: shape.hiddenSize, H: width, E, K }, source: `a layer of ${name}` }
  }
  return {
    dims: { D: scaled(shape.hiddenSize), H: scaled(width), E, K },
    source: `a layer of ${name} (D=${shape.hiddenSize} H=${width}) with D and H times ${fraction(scale)}, to multiples of ${MULTIPLE}`,
  }
}

/** `modelNamed`, its errors naming the flag. */
function modelLike(model: string): NamedModel {
  try {
    return modelNamed(model)
  } catch (error) {
    if (!(error instanceof TinymoeError)) throw error
    const { message } = error
    const unknown = error instanceof InputError
    throw new InputError(
      unknown ? `--like ${message}` : `--like ${model}: cannot be read as a config.json (${message})`,
      { cause: error },
    )
  }
}

function mostCommon(mixtures: MoeShape[], name: string): MoeShape {
  const key = ({ router, intermediateSize }: MoeShape) =>
    [router.numExperts, router.topK, intermediateSize].join()
  const times = (mixture: MoeShape) => mixtures.filter((other) => key(other) === key(mixture)).length
  const [first] = [...mixtures].sort((a, b) => times(b) - times(a))
  if (!first) throw new InputError(`--like ${name}: has no layer with experts`)
  return first
}

/** 1/16 for 0.0625, the number itself where it is no such fraction. */
function fraction(scale: number): string {
  const inverse = 1 / scale
  return Math.abs(inverse - Math.round(inverse)) < 1e-9 ? `1/${Math.round(inverse)}` : String(scale)
}
