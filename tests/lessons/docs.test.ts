import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import './01-router.test.ts'
import './02-top-k.test.ts'
import './03-dispatch.test.ts'
import './04-combine.test.ts'
import './05-load-balance.test.ts'
import './06-capacity.test.ts'
import './07-active-parameters.test.ts'
import './08-flops.test.ts'
import './09-dense-and-sparse.test.ts'
import './10-trained-experts.test.ts'

const FILE = fileURLToPath(new URL('../../docs/lessons.md', import.meta.url))

const INTRODUCTION = `# Ten lessons on mixtures of experts

Small numbers that can be checked by hand, computed by the engine itself; the last lesson reads a trained model. Each lesson is
a test that asserts every number it tells, and this page is made of what the lessons told: \`UPDATE_DOCS=1 npx vitest run
tests/lessons\` writes it anew, and the test suite fails when it is stale.

| to | run |
| --- | --- |
| run one lesson | \`npx vitest run tests/lessons/03\` |
| run it and print its story | \`npx vitest run tests/lessons/03 --reporter=verbose\` |
| run it again at every change of its file | \`npx vitest tests/lessons/03\` |

Letters, the same everywhere: T tokens, D model width, H width of an expert, E experts, K experts a token, V vocabulary.

**To watch the router decide.** Open the project in VS Code, choose "Lesson 1: stop in the router" under Run and Debug, and press F5.
Execution pauses in lesson 1 at each step of the router: \`step\` holds its name, formula, inputs and outputs. F5 goes on to the next step;
F11, pressed three times, goes on inside the router. Without VS Code: run
\`npx vitest run tests/lessons/01 --inspect-brk --no-file-parallelism --test-timeout=0\`, then in a second terminal
\`node inspect 127.0.0.1:9229\` and \`cont\`, \`exec step.outputs\`, \`step\`; or open \`chrome://inspect\` in Chrome.
`

// Registered last, so that all lessons have run.
test('docs/lessons.md is what the lessons tell', ({ task }) => {
  const lessons = task.file.tasks.filter(({ meta }) => meta.told)
  expect(lessons.length).toBe(10)
  const sections = lessons.map(({ name, meta }) => [`## ${name}`, ...meta.told!].join('\n\n'))
  const page = `${[INTRODUCTION.trimEnd(), ...sections].join('\n\n')}\n`
  if (process.env.UPDATE_DOCS) writeFileSync(FILE, page)
  expect(readFileSync(FILE, 'utf8'), 'stale; UPDATE_DOCS=1 npx vitest run tests/lessons writes it').toBe(page)
})
