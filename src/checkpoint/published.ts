import { type NameRule, type PublishedName, publishedNames } from '../families/names.ts'
import type { ModelConfig } from '../model/config.ts'
import type { StoredTensor, TensorSpec } from '../model/tensor-spec.ts'
import { tensorSpecs, weightTable } from '../model/weight-table.ts'
import { sum } from '../sums.ts'
import { type Held, isAsInModel, publishedShape, toPublished } from './layout.ts'

/** `published`: what the hub's files hold. `fused`: what newer libraries hold in memory, all experts in one tensor. */
export const LAYOUTS = ['published', 'fused'] as const
export type CheckpointLayout = (typeof LAYOUTS)[number]

/** A tensor of a checkpoint, made of the model's when its turn comes. */
export interface PublishedTensor {
  name: string
  shape: number[]
  /** Numbers of the host are added to scores to choose experts: rounding them changes choices, so published files keep them too. */
  keepsFloat32: boolean
  data(): Float32Array
}

/** The tensors of a checkpoint in a layout; `values` gives each of the model's stored tensors by our name, row-major. */
export function publishedTensors(
  config: ModelConfig,
  names: NameRule[],
  values: (ours: string, shape: number[]) => Float32Array,
  layout: CheckpointLayout = 'published',
): PublishedTensor[] {
  const made = new Map<string, PublishedTensor & { pieces: (() => Float32Array)[] }>()
  const namesOf = publishedNames(names)
  for (const [, spec, experts] of tensorSpecs(weightTable(config))) {
    const places = placesOf(spec, namesOf, layout)
    if (places.length === 0) throw new Error(`${config.family} has no published name for ${spec.name}`)
    for (const { published, stored } of places) {
      const held: Held = {
        shapes: stored.map(({ shape }) => shape),
        layout: published.layout,
        groups: published.layout.groups?.(config) ?? 1,
      }
      const piece = () => {
        const ours = joined(stored.map(({ name, shape }) => values(name, shape)))
        return isAsInModel(held) ? ours : toPublished(held, ours)
      }
      const known = made.get(published.name)
      if (known) known.pieces.push(piece)
      else {
        const pieces = [piece]
        made.set(published.name, {
          name: published.name,
          shape: publishedShape(held, published.expert === null ? null : experts),
          keepsFloat32: spec.packing === 'host',
          pieces,
          data: () => joined(pieces.map((make) => make())),
        })
      }
    }
  }
  return [...made.values()].map(({ pieces, ...tensor }) => tensor)
}

/** A published tensor and what of the model goes there. */
interface Place {
  published: PublishedName
  stored: StoredTensor[]
}

/** Where one of the model's tensors goes, whole or each stored tensor by itself: by the rule that comes first, or last. */
function placesOf({ name, stored }: TensorSpec, namesOf: NamesOf, layout: CheckpointLayout): Place[] {
  const pick = <Candidate>(candidates: Candidate[]) =>
    layout === 'published' ? candidates[0] : candidates[candidates.length - 1]
  const whole = pick(namesOf(name))
  if (stored.length === 1) return whole ? [{ published: whole, stored }] : []
  const apart = stored.map((tensor) => ({ published: pick(namesOf(tensor.name)), stored: [tensor] }))
  if (!apart.every(({ published }) => published)) return whole ? [{ published: whole, stored }] : []
  if (!whole) return apart
  const [first] = apart
  const wholeIsFirst = whole.rule < first.published.rule
  return wholeIsFirst === (layout === 'published') ? [{ published: whole, stored }] : apart
}

type NamesOf = ReturnType<typeof publishedNames>

function joined(parts: Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]
  const all = new Float32Array(sum(parts.map(({ length }) => length)))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
