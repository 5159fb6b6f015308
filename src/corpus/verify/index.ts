import type { Domain, Sample } from '../types.ts'
import { arithmeticProblems } from './arithmetic.ts'
import { codeProblems } from './code.ts'
import { dataProblems } from './data.ts'
import { dateProblems } from './dates.ts'
import { factProblems } from './facts.ts'
import { proseProblems } from './prose.ts'

export { bracketProblem } from './code.ts'

const VERIFIERS: Readonly<Record<Domain, (text: string) => string[]>> = {
  story: proseProblems,
  arithmetic: arithmeticProblems,
  code: codeProblems,
  german: proseProblems,
  data: dataProblems,
  dates: dateProblems,
  facts: factProblems,
}

/** What is wrong with a document of the domain, whoever wrote it: a model or the generator. Empty where all is right. */
export function verifyText(domain: Domain, text: string): string[] {
  return VERIFIERS[domain](text)
}

/**
 * Whether a model's continuation of `sample.prompt` has the right result: for worked answers what stands after the last
 * `=` or `;`, else the whole. Anything after the first line does not count. For the working too, compare with `answer`.
 */
export function checkAnswer(sample: Sample, continuation: string): boolean {
  if (sample.answer === undefined) throw new Error(`a sample of form ${sample.form} has no answer`)
  return result(continuation) === result(sample.answer)
}

function result(continuation: string): string {
  const [line] = continuation.split('\n')
  return line.slice(Math.max(line.lastIndexOf('='), line.lastIndexOf(';')) + 1).trim()
}
