import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { filesIn } from '../../src/checkpoint/disk.ts'
import { readChatTemplate } from '../../src/generate/chat-template.ts'
import { loadModel } from '../../src/load-model.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { outcomeOf, PATIENT, startCli } from './run-cli.ts'

/** The reference's model with a text vocabulary, which has the tokenizer whose template is tested in tests/generate. */
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-chat-'))
  cpSync(join(FIXTURES, 'qwen3_moe/text'), dir, { recursive: true })
  const template =
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n'
  writeFileSync(join(dir, 'chat_template.jinja'), template)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const chat = (input: string, ...flags: string[]) =>
  outcomeOf(startCli('chat', dir, '--device', 'js', '--max-tokens', '4', ...flags), input)

test('each reply is made from the whole conversation; commands are no turns', PATIENT, async () => {
  const { code, stdout, stderr } = await chat(
    'Hi\n/router\nWhy?\n/clear\nHi\n/nonsense\n/quit\nnever\n',
    '--json',
  )
  expect([code, stderr]).toEqual([0, expect.stringContaining('[forgotten]')])
  const replies = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(replies.map(({ role }) => role)).toEqual(['assistant', 'assistant', 'assistant'])
  expect(replies[2]).toEqual(replies[0])
  const model = await loadModel(dir, { device: 'js' })
  const template = readChatTemplate(filesIn(dir))!
  const text = template([
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: replies[0].content },
    { role: 'user', content: 'Why?' },
  ])
  const tokens = await model.tokenizer!.encode(text, { addSpecialTokens: false })
  const expected = await model.generate({ tokens, maxTokens: 4 }).done
  expect(replies[1]).toEqual({ role: 'assistant', content: expected.text, tokens: expected.tokens })
  model.dispose()
  expect(stderr).toMatch(/expert +0 1 2/) // the heat map, after the second
  expect(stderr.match(/load-balance loss/g)).toHaveLength(2)
  expect(stderr).toContain('/router shows or hides')
})

test('text comes as it is made, after what the model is told first', PATIENT, async () => {
  const [told, plain] = [await chat('Hi\n', '--system', 'Be brief.'), await chat('Hi\n')]
  expect([told.code, plain.code]).toEqual([0, 0])
  expect(told.stdout.endsWith('\n') && plain.stdout.endsWith('\n')).toBe(true)
  expect(told.stdout).not.toBe(plain.stdout)
})

test('a turn that is too long is said, and the chat goes on', PATIENT, async () => {
  const { code, stdout, stderr } = await chat(`${'word '.repeat(300)}\nHi\n`, '--json')
  expect(code).toBe(0)
  expect(stderr).toMatch(/\[.*expected at most/)
  expect(stdout.trim().split('\n')).toHaveLength(1)
})

test('a model that is not made for it', PATIENT, async () => {
  const config = JSON.parse(readFileSync(join(dir, 'tokenizer_config.json'), 'utf8'))
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify({ ...config, chat_template: undefined }))
  rmSync(join(dir, 'chat_template.jinja'))
  const { code, stderr } = await chat('Hi\n')
  expect(code).toBe(1)
  expect(stderr).toContain(
    'has no chat template, expected a model made for chats; generate continues any text',
  )
})
