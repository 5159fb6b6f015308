#!/usr/bin/env node
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/*
 * What package.json of a checkout names as its code, since the code is TypeScript until it is built: npm runs no scripts
 * here (.npmrc), so that a plain `npm pack` cannot build. What packaging/build.ts writes has a package.json of its own.
 */
const sentence =
  'tinymoe: there is no built code here: `npm run package` in a checkout writes a package that has it, and `npm run -s tinymoe -- <command>` runs the checkout itself'

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.stderr.write(`${sentence}\n`)
  process.exitCode = 1
} else {
  throw new Error(sentence)
}
