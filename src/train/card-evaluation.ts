import type { Proportion } from '../eval/proportion.ts'
import type { ByDomain, EvalReport, FactsReport, FormsPooled } from '../eval/types.ts'
import { markdownTable } from '../text/columns.ts'
import { thousands } from '../text/units.ts'
import { deviceLine, percent } from './card-words.ts'
import { factsText } from './facts.ts'

/** The card's section on what `tinymoe eval` found, with the command that finds it again. */
export function evaluationSection(report: EvalReport): string {
  const { loss, domains, split, samples, seed, facts, headline, exactMatch, wellFormed, notes } = report
  const losses = domains.map((domain) => {
    const { documents, standardError } = loss.details[domain]!
    return [domain, loss.byDomain[domain]!.toFixed(3), standardError?.toFixed(3) ?? '-', String(documents)]
  })
  return `## Evaluation

On texts of the split \`${split}\`, which no model is trained on:

\`\`\`
npm run -s tinymoe -- eval <this directory> --split ${split} --samples ${samples} --seed ${seed}${facts ? ` --facts ${factsText(facts)}` : ''}
\`\`\`

Loss, each document by itself:

${markdownTable([['domain', 'nats a token', 'std. error', 'documents'], ...losses, ['mean of domains', loss.mean.toFixed(3), '', '']])}

Perplexity ${loss.perplexity.toFixed(3)}, ${loss.bitsPerCharacter.toFixed(3)} bits a character.
${headline ? `\n${headlineText(headline)}\n` : ''}${forms('Right answers, greedy', exactMatch)}${forms('Texts in which the verifier finds nothing wrong (form, not sense)', wellFormed)}
${facts ? factsSection(facts) : ''}
${costText(report)}
${notes.map((note) => `\n${note}.\n`).join('')}`
}

/** Facts in words that no training text has for them. */
function factsSection({ entities, possibleBits, recall, recitation }: FactsReport): string {
  const share = ({ correct, total }: Proportion) => `${percent(correct / total)} (${correct} of ${total})`
  const { total, active } = recall.bitsAParameter
  return (
    `\nFacts of ${thousands(entities)} entities: ${share(recall.right)} right in words that no training text has for them, ` +
    `${share(recitation.right)} in words that some have. ${thousands(Math.round(recall.storedBits))} of ${thousands(possibleBits)} bits are stored, ` +
    `${total.toFixed(2)} a parameter and ${active.toFixed(2)} an active one.\n`
  )
}

function headlineText({ worked, plain }: NonNullable<EvalReport['headline']>): string {
  const share = (pooled: FormsPooled) =>
    pooled.total === 0
      ? 'none asked'
      : `${percent(pooled.correct / pooled.total)} (${pooled.correct} of ${pooled.total})`
  return `Sums of two numbers of two digits whose pair is in no training text: ${share(worked)} right with the working written out, ${share(plain)} without.`
}

function forms(title: string, results: ByDomain<Record<string, Proportion>>): string {
  const rows = Object.entries(results).flatMap(([domain, ofDomain]) =>
    Object.entries(ofDomain).map(([form, { correct, total, low, high }]) => [
      domain,
      form,
      total === 0 ? '-' : percent(correct / total),
      `${correct}/${total}`,
      `${percent(low)} to ${percent(high)}`,
    ]),
  )
  if (rows.length === 0) return ''
  return `\n${title}:\n\n${markdownTable([['domain', 'form', 'right', 'of', '95 % interval'], ...rows])}
`
}

/** Times stand with where and beside what they were taken. */
function costText({ cost, speed, conditions }: EvalReport): string {
  const { runtime, executor, loadAverage } = conditions
  const { prefill, decode } = speed
  return (
    `${thousands(cost.flopsPerToken)} matrix FLOPs a token at ${cost.flopContext} keys; ${thousands(cost.weightBytesPerToken)} bytes of ` +
    `float32 weights read for one token.\nSpeed: ${prefill.tokensPerSecond.toFixed(0)} tokens/s reading (${prefill.tokens} tokens), ` +
    `${decode.tokensPerSecond.toFixed(0)} tokens/s writing, medians on ${deviceLine(runtime)}, ` +
    `TensorFlow ${runtime.tensorflowVersion ?? 'not used'}, executor ${executor}, load average before ${loadAverage ?? 'unknown'}.`
  )
}
