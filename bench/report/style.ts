import { colourVariables } from './palette.ts'

/** Light and dark by the reader's setting; one column where there is no room for two. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --muted: #59636e; --line: #d0d7de; --paper: #ffffff; --back: #f6f8fa; --mark: #0969da; ${colourVariables('light')} }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --muted: #9198a1; --line: #30363d; --paper: #0d1117; --back: #010409; --mark: #58a6ff; ${colourVariables('dark')} }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1280px; padding: 20px; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 8px }
h2 { font-size: 18px; line-height: 1.3; margin: 0 0 6px }
p { margin: 0 0 8px; max-width: 105ch }
ul { margin: 0; padding-left: 20px }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 12px 0 }
a { color: var(--mark) }
section, header { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 18px; margin-bottom: 16px }
.conclusion { font-size: 17px }
.remark { border-left: 3px solid var(--gather); padding-left: 10px }
.missing { border-left: 3px dashed var(--muted); padding-left: 10px; color: var(--muted) }
.note, .meta { color: var(--muted); font-size: 14px }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin: 6px 0 }
.key { white-space: nowrap }
.sign { color: var(--key); margin-right: 5px }
.swatch { display: inline-block; width: 10px; height: 10px; border-radius: 2px; background: var(--key); margin-right: 5px }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 16px; margin: 10px 0 }
.single { grid-template-columns: minmax(0, 520px) }
.single > figure { max-width: none }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)) }
figure { margin: 0; max-width: 460px; min-width: 0 }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 2px }
svg { display: block; width: 100%; height: auto; color: var(--ink) }
details { margin-top: 6px }
summary { cursor: pointer; color: var(--mark) }
.wide { overflow-x: auto; margin: 6px 0 12px }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 3px 9px; text-align: right; font-weight: 400; white-space: nowrap; border-bottom: 1px solid var(--line) }
thead th { color: var(--muted) }
tr > th:first-child, .words td, .words th { text-align: left }
.words td, .words th { white-space: normal; overflow-wrap: anywhere; vertical-align: top; min-width: 16ch }
@media (max-width: 560px) {
  body { padding: 8px }
  section, header { padding: 12px }
}
`
