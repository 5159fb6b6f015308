/**
 * Every limit that measuring found and that decides what is run. Each names the section of docs/log.md with its figures, or
 * says that there are none. What a kernel is built of (numbers in a vector, rows in a panel) stands in src/native.
 */
export const LIMITS = {
  /**
   * Rows up to which a product takes a processor as long as reading its weights: the fused kernels serve best, and float32.
   * "one thread an op for few rows"; "a processor with AVX-512", 5 to 16 rows.
   */
  fewRows: 16,
  /** Rows up to which a fused expert multiplies row by row; more, in panels. "kernels of our own", rows an expert has. */
  rowsOutsidePanels: 8,
  /** The same of weights of bfloat16 on a processor that multiplies tiles. "tiles and whole numbers", rows from which they pay. */
  rowsOutsideTiles: 3,
  /** Parts, at most, of the routed experts' work: each sorts and copies all rows. Measured with two. */
  expertParts: 8,

  /** Assignments (T K) up to which `auto` runs experts a row at a time. "how much of sparse dispatch arrives". */
  gatherAssignments: 4,

  /** Rows that an expert's are filled up to a multiple of in training. "Training recorded". */
  trainedGroups: 64,

  /** Queries that share a block of attention: what comes after the block is not computed for it. "prompts". */
  blockQueries: 64,
  /** Query rows up to which the keys go on the left of the product. Not in the log. */
  keysFirstRows: 64,
  /** Multiplications a matrix from which Eigen is slow with a product of stacks, and oneDNN is not. "prompts". */
  slowStack: 2 ** 15,

  /**
   * Numbers a matrix of weights below which a graph of up to so many rows is run node by node, each on one thread: two and what
   * they are multiplied with stay in caches; the more so, the fewer rows. "prompts"; "a processor with AVX-512", node by node.
   */
  smallWeights: [
    { rows: 256, numbers: 2 ** 21 },
    { rows: Number.POSITIVE_INFINITY, numbers: 2 ** 19 },
  ],
  /** Threads up to which that is done; it was measured with two, and graphs are not much wider. */
  nodeThreads: 4,
  /** Multiplications from which a product of many rows gains from a second thread. "prompts", small prompts. */
  cutProduct: 2 ** 23,

  /** How calls become steps of a processor, which pays for every row: many shapes, little padding. Not in the log, as what follows. */
  steps: {
    /** Tokens a step may take; a prompt is cut into these, the last piece padded up. Not in the log. */
    tokens: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    /** Tokens up to which padding a piece up costs less than another step. Not in the log. */
    padded: 64,
    /** Columns that a cache has room for at first, and how often as many where they do not suffice. Not in the log. */
    columns: { first: 256, growth: 2 },
    /** Graphs in a model's sessions; with one more, these begin anew. Not in the log. */
    graphs: 12,
  },
  /** The same of a card, which pays for launches and waits while a graph is made: few shapes. Not in the log: no card was at hand. */
  cardSteps: {
    tokens: [1, 64, 512],
    padded: 512,
    columns: { first: 1024, growth: 4 },
    graphs: 3,
  },
  /** Values of a tensor up to which it becomes a constant of the graph, not a variable. Not in the log. */
  constantValues: 1024,
} as const
