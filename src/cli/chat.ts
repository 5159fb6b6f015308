import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { filesIn } from '../checkpoint/disk.ts'
import { CheckpointError, TinymoeError } from '../errors.ts'
import { type ChatMessage, type ChatTemplate, readChatTemplate } from '../generate/chat-template.ts'
import type { Generated } from '../generate/types.ts'
import type { LoadedModel } from '../load-model.ts'
import { joinTraces } from '../model/trace.ts'
import * as read from '../script/arguments.ts'
import { addFlags, allOptions, EXPERTS_ON_DISK, flags, type Given, MODEL_ARGUMENT } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { heatMap } from '../trace/heatmap.ts'
import { tokenTexts } from '../trace/token-text.ts'
import { colourDepth } from './colour-depth.ts'
import { withModel } from './loading.ts'
import { ReplyColumn } from './reply-column.ts'

const COMMANDS = '/router shows or hides where tokens go, /clear forgets, /quit ends'

const EXAMPLES = `
In the chat: ${COMMANDS}.

Examples:
  $ tinymoe chat Qwen/Qwen3-30B-A3B --router
  $ echo "Which expert are you?" | tinymoe chat ~/model --json
`

const FLAGS = flags({
  system: ['<text>', 'what the model is told first'],
  router: ['', 'beside each line of a reply, or below it, the experts that ran'],
  maxTokens: ['<n>', 'new tokens of a reply at most; else 512', read.wholeNumber(1, read.MAX_TOKENS)],
  temperature: ['<x>', '0 takes the most likely token; else as the model says', read.from(0, 1000)],
  topP: ['<x>', 'draw from the most likely tokens that reach this sum', read.positive(1)],
  seed: ['<n>', 'of the draws', read.seed, 0],
  expertsOnDisk: EXPERTS_ON_DISK,
})
type Options = Given<typeof FLAGS>

export function register(program: Command): void {
  addFlags(program.command('chat'), FLAGS)
    .description('Talks with a model by its chat template: a line is a turn, the reply comes as it is made.')
    .argument(...MODEL_ARGUMENT)
    .addHelpText('after', EXAMPLES)
    .action(async (dir: string, _: unknown, command: Command) => {
      const { json, device, debug, expertsOnDisk, ...options } = allOptions<Options>(command)
      await interruptible('the chat ends here', (signal) =>
        withModel(dir, { device, debug, expertsOnDisk }, async (model) => {
          const template = readChatTemplate(filesIn(model.dir))
          if (!template || !model.tokenizer) {
            throw new CheckpointError(
              `${model.dir}: has no ${model.tokenizer ? 'chat template' : 'tokenizer'}, expected a model made for chats; generate continues any text`,
            )
          }
          await new Chat(model, template, options, json === true, signal).run()
        }),
      )
    })
}

/** A conversation. Each reply is made from all of it. */
class Chat {
  private messages: ChatMessage[] = []
  private showsRouter: boolean

  constructor(
    private readonly model: LoadedModel,
    private readonly template: ChatTemplate,
    private readonly options: Options,
    private readonly json: boolean,
    private readonly signal: AbortSignal,
  ) {
    this.showsRouter = options.router === true
    this.clear()
  }

  async run(): Promise<void> {
    const terminal = process.stdin.isTTY === true
    if (terminal) remark(COMMANDS)
    const lines = createInterface({
      input: process.stdin,
      output: terminal ? process.stderr : undefined,
      prompt: '> ',
      signal: this.signal,
    })
    lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT')) // a terminal hands Ctrl-C to the line that is typed
    if (terminal) lines.prompt()
    for await (const line of lines) {
      if (line.trim() === '/quit') break
      await this.turn(line.trim())
      if (this.signal.aborted) break
      if (terminal) lines.prompt()
    }
    lines.close()
  }

  private async turn(line: string): Promise<void> {
    if (line === '') return
    if (line === '/clear') {
      this.clear()
      remark('[forgotten]')
    } else if (line === '/router') {
      this.showsRouter = !this.showsRouter
      remark(`[the router is ${this.showsRouter ? 'shown' : 'hidden'}]`)
    } else if (line.startsWith('/')) remark(COMMANDS)
    else await this.reply(line)
  }

  private clear(): void {
    const { system } = this.options
    this.messages = system === undefined ? [] : [{ role: 'system', content: system }]
  }

  /** What goes wrong with one turn, such as a conversation that is too long, does not end the chat. */
  private async reply(content: string): Promise<void> {
    const asked: ChatMessage[] = [...this.messages, { role: 'user', content }]
    try {
      const { generated, beside } = await this.generate(asked)
      this.messages = [...asked, { role: 'assistant', content: generated.text }]
      if (this.json)
        await write(
          `${JSON.stringify({ role: 'assistant', content: generated.text, tokens: generated.tokens })}\n`,
        )
      if (this.showsRouter && !beside) await this.showRouter(generated)
    } catch (error) {
      if (!(error instanceof TinymoeError)) throw error
      remark(`[${error.message}]`)
    }
  }

  /** The reply, and whether the experts that it ran were shown beside it. */
  private async generate(
    messages: readonly ChatMessage[],
  ): Promise<{ generated: Generated; beside: boolean }> {
    const { maxTokens = 512, temperature, topP, seed } = this.options
    const tokens = await this.model.tokenizer!.encode(this.template(messages), { addSpecialTokens: false })
    const { signal, showsRouter: trace } = this
    const run = this.model.generate({ tokens, maxTokens, temperature, topP, seed, signal, trace })
    const column = trace && !this.json && process.stdout.isTTY ? this.column() : null
    let written = 0
    for await (const { text, trace } of run) {
      if (column) column.add(text, trace)
      else if (!this.json) await write(text)
      written += text.length
    }
    const generated = await run.done
    const rest = generated.text.slice(written)
    if (!column) {
      if (!this.json) await write(`${rest}\n`)
      return { generated, beside: false }
    }
    column.add(rest)
    return { generated, beside: column.end() }
  }

  private column(): ReplyColumn {
    const mixtures = this.model.config.layers.flatMap(({ feedForward }, layer) =>
      feedForward.kind === 'moe' ? [{ layer, numExperts: feedForward.router.numExperts }] : [],
    )
    return new ReplyColumn(process.stdout, mixtures, colourDepth(process.stdout))
  }

  /** The tokens of the reply, each beside the experts that it went to. */
  private async showRouter({ traces, promptTokens }: Generated): Promise<void> {
    const own = traces.filter(({ rows }) => rows[0].position >= promptTokens)
    if (own.length === 0 || own[0].layers.length === 0) {
      remark('[there is no router to show: every layer is dense, or the reply ended at once]')
      return
    }
    const trace = joinTraces(own)
    const lines = heatMap(trace, {
      texts: await tokenTexts(trace.rows, this.model.tokenizer!),
      width: process.stderr.columns ?? 100,
      depth: colourDepth(process.stderr),
      legend: false,
    })
    process.stderr.write(`${lines.join('\n')}\n`)
  }
}
