import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { filesIn } from '../../src/checkpoint/disk.ts'
import { filesInMemory } from '../../src/checkpoint/source.ts'
import { type ChatMessage, readChatTemplate } from '../../src/generate/chat-template.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { FIXTURES } from '../helpers/golden.ts'

interface GoldenChat {
  messages: ChatMessage[]
  tools?: unknown[]
  add_generation_prompt?: boolean
  rendered: string
  ids: number[]
}

/** Templates in tokenizer_config.json and in a file of their own, rendered by transformers. */
describe.each(['tokenizer', 'tokenizer/gpt2_style'])('%s', (name) => {
  const dir = join(FIXTURES, name)
  const { chat }: { chat: GoldenChat[] } = JSON.parse(readFileSync(join(dir, 'golden.json'), 'utf8'))

  test.each(chat.map((one, i) => [i, one] as const))(
    'conversation %i is rendered and encoded alike',
    async (_, one) => {
      const { messages, rendered, ids, add_generation_prompt = false, tools } = one
      const template = readChatTemplate(filesIn(dir))!
      const text = template(messages, { add_generation_prompt, ...(tools && { tools }) })
      expect(text).toBe(rendered)
      const tokenizer = (await loadTokenizer(dir))!
      expect(await tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids)
    },
  )
})

function files(config: unknown) {
  return filesInMemory(
    'm',
    new Map([['tokenizer_config.json', new TextEncoder().encode(JSON.stringify(config))]]),
  )
}

test('one of several templates, marks that are objects, none at all, and one that is broken', () => {
  const user: ChatMessage[] = [{ role: 'user', content: 'Hi' }]
  const source = '{{ bos_token }}{{ messages[0].content }}'
  const several = [
    { name: 'tool_use', template: 'x' },
    { name: 'default', template: source },
  ]
  expect(readChatTemplate(files({ chat_template: several, bos_token: { content: '<b>' } }))!(user)).toBe(
    '<b>Hi',
  )
  expect(readChatTemplate(files({}))).toBeNull()
  expect(() => readChatTemplate(files({ chat_template: '{% if %}' }))).toThrow(
    /^m\/tokenizer_config\.json: chat template: /,
  )
  const refusing = readChatTemplate(
    files({ chat_template: "{{ raise_exception('roles must alternate') }}" }),
  )!
  expect(() => refusing(user)).toThrow('chat template: roles must alternate')
})
