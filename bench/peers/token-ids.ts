import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { InputError } from '../../src/errors.ts'
import { runScript } from '../../src/script/run.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'

/* For check_models.py: the ids of the texts on stdin (a JSON list) by a directory's tokenizer, as a JSON list of lists. */

async function printIds(dir: string): Promise<void> {
  const texts: string[] = JSON.parse(readFileSync(0, 'utf8'))
  const tokenizer = await loadTokenizer(dir)
  if (!tokenizer) throw new InputError(`${dir}: has no tokenizer.json`)
  process.stdout.write(`${JSON.stringify(await Promise.all(texts.map((text) => tokenizer.encode(text))))}\n`)
}

await runScript(new Command('tsx bench/peers/token-ids.ts').argument('<dir>').action(printIds))
