import { Template } from '@huggingface/jinja'
import type { ModelFiles } from '../checkpoint/source.ts'
import { isJsonObject } from '../checks.ts'
import { CheckpointError, InputError, messageOf } from '../errors.ts'
import { parseJson } from '../text/json.ts'

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

/** Makes of a conversation the text that the model goes on with. */
export type ChatTemplate = (messages: readonly ChatMessage[], options?: Record<string, unknown>) => string

const TEMPLATE_FILE = 'chat_template.jinja'
const CONFIG_FILE = 'tokenizer_config.json'
/** Tokens that templates name. */
const MARKS = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const

/**
 * The template of a model's directory, from a file of its own or from tokenizer_config.json; null where there is none.
 * @throws CheckpointError for one that cannot be read
 */
export function readChatTemplate(files: ModelFiles): ChatTemplate | null {
  const config = files.has(CONFIG_FILE) ? jsonOf(files, CONFIG_FILE) : {}
  const own = files.has(TEMPLATE_FILE)
  const source = own
    ? new TextDecoder().decode(files.bytes(TEMPLATE_FILE))
    : defaultTemplate(config.chat_template)
  if (source === null) return null
  const file = files.at(own ? TEMPLATE_FILE : CONFIG_FILE)
  const template = orFail(
    () => new Template(source),
    (why) => new CheckpointError(`${file}: chat template: ${why}`),
  )
  const marks = Object.fromEntries(MARKS.map((name) => [name, contentOf(config[name])]))
  return (messages, options = {}) =>
    orFail(
      () => template.render({ ...marks, add_generation_prompt: true, ...options, messages }),
      (why) => new InputError(`chat template: ${why}`),
    )
}

/** One template, or several by name. */
function defaultTemplate(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) return null
  const named = value.find((entry) => isJsonObject(entry) && entry.name === 'default')
  return typeof named?.template === 'string' ? named.template : null
}

/** A token as text, or as an object that has it. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token
  return isJsonObject(token) && typeof token.content === 'string' ? token.content : undefined
}

function jsonOf(files: ModelFiles, name: string): Record<string, unknown> {
  const json = parseJson(files.bytes(name), `${files.at(name)}:`, CheckpointError)
  return isJsonObject(json) ? json : {}
}

function orFail<T>(work: () => T, failure: (why: string) => Error): T {
  try {
    return work()
  } catch (error) {
    throw failure(messageOf(error))
  }
}
