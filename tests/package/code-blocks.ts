import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { REPOSITORY } from '../cli/run-cli.ts'

/** A fenced block of a page. */
export interface CodeBlock {
  page: string
  language: string
  /** The file that it is, where the page says so after the language. */
  file: string | null
  code: string
}

/** README and everything in docs/. */
export function pages(): string[] {
  const docs = readdirSync(join(REPOSITORY, 'docs')).filter((name) => name.endsWith('.md'))
  return ['README.md', ...docs.map((name) => `docs/${name}`)]
}

export function codeBlocks(page: string): CodeBlock[] {
  const text = readFileSync(join(REPOSITORY, page), 'utf8')
  return [...text.matchAll(/^```(\w+)(?: (\S+))?\n([\s\S]*?)^```$/gm)].map(([, language, file, code]) => ({
    page,
    language,
    file: file ?? null,
    code,
  }))
}
