/** What is wrong with an arithmetic document: the result, and every digit, carry and borrow of the working. */
export function arithmeticProblems(text: string): string[] {
  const plain = /^(\d+)\+(\d+)=(\d+)$/.exec(text)
  if (plain) return resultProblems(Number(plain[1]) + Number(plain[2]), Number(plain[3]))
  const worked =
    /^(\d+)([+-])(\d+): (.+); =(\d+)$/.exec(text) ??
    /^Question: What is (\d+) (plus|minus) (\d+)\?\nAnswer: (.+); =(\d+)$/.exec(text)
  if (!worked) return [`not a sum: "${text}"`]
  const [, left, operator, right, steps, result] = worked
  const adds = operator === '+' || operator === 'plus'
  const expected = adds ? Number(left) + Number(right) : Number(left) - Number(right)
  return [...resultProblems(expected, Number(result)), ...stepProblems(left, right, adds, steps.split('; '))]
}

function resultProblems(expected: number, written: number): string[] {
  return written === expected ? [] : [`result is ${written}, expected ${expected}`]
}

function stepProblems(left: string, right: string, adds: boolean, steps: string[]): string[] {
  const places = Math.max(left.length, right.length)
  if (steps.length !== places) return [`${steps.length} steps, expected ${places}`]
  const problems: string[] = []
  let moved = 0 // the carry or borrow that the step before announced
  steps.forEach((step, place) => {
    const digit = (operand: string) => Number(operand.at(-1 - place) ?? 0)
    const [a, b] = [digit(left), digit(right)]
    // the last step of a sum writes both digits, so it has no carry to announce
    const over = adds ? place < places - 1 && a + b + moved > 9 : a - b - moved < 0
    const expected = adds
      ? `${a}+${b}${moved ? '+1' : ''}=${a + b + moved}${over ? ' carry 1' : ''}`
      : `${over ? a + 10 : a}-${b}${moved ? '-1' : ''}=${(over ? a + 10 : a) - b - moved}${over ? ' borrow 1' : ''}`
    if (step !== expected) problems.push(`step ${place + 1} is "${step}", expected "${expected}"`)
    moved = over ? 1 : 0
  })
  return problems
}
