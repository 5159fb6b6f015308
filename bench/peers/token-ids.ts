import { readFileSync } from 'node:fs'
import { loadTokenizer } from '../../src/generate/tokenizer.ts'

/* For check_models.py: the ids of the texts on stdin (a JSON list) by a directory's tokenizer, as a JSON list of lists. */

const [dir] = process.argv.slice(2)
const texts: string[] = JSON.parse(readFileSync(0, 'utf8'))
const tokenizer = await loadTokenizer(dir)
if (!tokenizer) throw new Error(`${dir}: has no tokenizer.json`)
process.stdout.write(`${JSON.stringify(texts.map((text) => tokenizer.encode(text)))}\n`)
