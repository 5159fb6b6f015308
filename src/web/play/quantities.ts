import { COUNTED, ENGINE, TIMED } from '../parts/fact.tsx'

/** What runs are compared by. */
export const QUANTITIES = {
  total: { title: 'Parameters', formula: 'all that the checkpoint holds', source: COUNTED },
  active: {
    title: 'Parameters that ran',
    formula: 'mean over tokens: always used + experts that ran',
    source: COUNTED,
  },
  flops: {
    title: 'Arithmetic a token',
    formula: '2 FLOP a parameter of each product, experts that ran',
    source: COUNTED,
  },
  bytes: { title: 'Memory read a token', formula: '4 bytes a parameter of what ran', source: COUNTED },
  loss: {
    title: 'Loss of the text, nats a token',
    formula: 'mean of -ln p(token | the tokens before)',
    source: ENGINE,
  },
  ms: { title: 'Time of a forward', formula: 'median of forwards over the whole text', source: TIMED },
  next: { title: 'Next token', formula: 'the largest of softmax of the logits', source: ENGINE },
} as const
