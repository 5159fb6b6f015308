import { DOMAINS, generateSample, type Split } from './index.ts'

/** The first documents of each domain as Markdown; docs/corpus.md holds what this gives. */
export function examplesMarkdown(count: number, split: Split, seed: number): string {
  const sections = DOMAINS.map((domain) => {
    const samples = Array.from({ length: count }, (_, index) => generateSample(domain, split, index, seed))
    const blocks = samples.map(({ form, text }) => `\`${form}\`\n\n\`\`\`text\n${wrap(text)}\n\`\`\``)
    return [`### ${domain}`, ...blocks].join('\n\n')
  })
  return sections.join('\n\n')
}

/** Stories are one long line; broken here for reading. */
function wrap(text: string, width = 110): string {
  return text.replace(new RegExp(`(?=.{${width + 1}})(.{1,${width}}) `, 'g'), '$1\n')
}
