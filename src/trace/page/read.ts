import { readFileSync } from 'node:fs'
import type { PageAssets } from '../html.ts'

/** What `tracePage` needs beside its data, from this folder. */
export function readPageAssets(): PageAssets {
  const text = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8')
  return { script: text('page.js'), style: text('page.css') }
}
