/** What is launched for a decoded token of `moe`: what it is, and why no fused form of TensorFlow's serves. */
export const REMAINING: Readonly<Record<string, readonly [what: string, why: string]>> = {
  BatchMatMulV2: [
    'queries, keys and values in one product; scores; values by scores; router; gate and up of all chosen experts; down; logits',
    'products with nothing to add to them; the only fusion of stacks of products is of oneDNN, for processors',
  ],
  Mul: [
    "the norms' weights, the swapped half times sines, up times gate, and the tables of cosines and sines",
    'batch normalisation takes one weight a channel, and a norm is one channel',
  ],
  FusedBatchNormV3: ['the norms, and what rotates: a product and a sum in one', 'fused already'],
  L2Loss: [
    'sums of squares of the norms, and the check of all logits',
    'inference takes the variance as an input',
  ],
  GatherV2: [
    "the chosen experts' matrices, twice a layer, and the embedding",
    'TensorFlow has no product of stacks that takes indices; a cut at an index would wait for the index',
  ],
  Softmax: ['attention, and the weights of the chosen', 'fused already'],
  _FusedMatMul: [
    'projections of attention and the weighted sum of experts, each with the residual',
    'fused already',
  ],
  Add: ['the mask, and the tables', 'a bias is of one axis and of one matrix; scores are a stack'],
  Roll: ['swaps the halves of heads', 'the other way is a split and a concatenation'],
  InplaceUpdate: ['new keys and values into the cache', 'fused already: keys and values at once'],
  TopKV2: ['the choice of experts', 'no fusion has it'],
  Split: [
    'gate and up of the chosen experts',
    'they are not rows that stand together when several experts are chosen',
  ],
  SoftplusGrad: ["silu, as softplus' derivative times its argument", 'fused already: sigmoid and a product'],
  ConcatV2: [
    'all logits for one check, and the result in one piece',
    'two checks and two results would be as many',
  ],
  ArgMax: ['the token', 'no fusion has it'],
}

/** Ops that TensorFlow would run on the processor, and why each may: none. */
export const ON_PROCESSOR: Readonly<Record<string, string>> = {}
