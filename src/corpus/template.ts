/** Words to put in for `$name`; those that are drawn are drawn when they are met. */
export type Slots = Readonly<Record<string, string | (() => string)>>

/** A template with the word for each `$slot`. */
export function filled(template: string, slots: Slots): string {
  return template.replace(/\$([a-z_]+)/g, (_, name: string) => {
    const word = slots[name]
    if (word === undefined) throw new Error(`template "${template}" has no slot $${name}`)
    return typeof word === 'string' ? word : word()
  })
}
