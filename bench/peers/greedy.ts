import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { InputError } from '../../src/errors.ts'
import { loadModel } from '../../src/load-model.ts'
import { MAX_TOKENS, wholeNumber } from '../../src/script/arguments.ts'
import { write } from '../../src/script/output.ts'
import { runScript } from '../../src/script/run.ts'

/*
 * For check_vllm.py and check_llama_cpp.py: how a model continues the texts on stdin (a JSON list), as a JSON list of
 * `{ prompt, promptTokens, tokens }`. An end-of-text token does not end a text, so that all have the same length.
 */

async function printGreedy(dir: string, { maxTokens }: { maxTokens: number }): Promise<void> {
  const prompts: string[] = JSON.parse(readFileSync(0, 'utf8'))
  const model = await loadModel(dir)
  try {
    const { tokenizer } = model
    if (!tokenizer) throw new InputError(`${dir}: has no tokenizer.json`)
    const texts = []
    for (const prompt of prompts) {
      const promptTokens = await tokenizer.encode(prompt)
      const options = { tokens: promptTokens, maxTokens, temperature: 0, ignoreEos: true }
      const { tokens } = await model.generate(options).done
      texts.push({ prompt, promptTokens, tokens })
    }
    await write(`${JSON.stringify(texts)}\n`)
  } finally {
    model.dispose()
  }
}

const program = new Command('tsx bench/peers/greedy.ts')
  .argument('<dir>')
  .requiredOption('--max-tokens <n>', 'new tokens of each text', wholeNumber(1, MAX_TOKENS))
  .action(printGreedy)

await runScript(program)
