import { useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import { tracePicture } from '../../trace/picture.ts'
import { useEngine } from '../app/engine.tsx'
import { flagsOf } from './changes.ts'
import { usePlay } from './state.tsx'

/** Pixels of a saved picture for one of its own. */
const PNG_SCALE = 2

/** The picture that `tinymoe trace --svg` makes, the trace, and the address of this state. */
export function SaveButtons() {
  const { after, changes, isChanged, facts, prompt } = usePlay()
  const { client } = useEngine()
  const [said, setSaid] = useState('')
  const { trace, texts } = after
  if (!trace) return null
  const flags = isChanged ? flagsOf(changes) : null
  const picture = () => `${tracePicture(trace, texts, flags)}\n`
  const attempt = (what: string, work: () => Promise<void>) =>
    work().then(
      () => setSaid(what),
      (error) => setSaid(messageOf(error)),
    )
  const save = (name: string, content: Promise<Blob> | Blob) =>
    attempt(`Saved ${name}.`, async () => download(name, await content))
  const text = (content: string, type: string) => new Blob([content], { type })
  const command = `tinymoe trace ${facts.name} --prompt ${JSON.stringify(prompt)}${flags ? ` ${flags}` : ''}`
  return (
    <section class="card save" aria-labelledby="save-heading">
      <h2 id="save-heading">Keep and share</h2>
      <div class="buttons">
        <button type="button" onClick={() => save('routing.svg', text(picture(), 'image/svg+xml'))}>
          SVG
        </button>
        <button type="button" onClick={() => save('routing.png', pngOf(picture()))}>
          PNG
        </button>
        <button
          type="button"
          onClick={() =>
            save(
              'trace.json',
              client.ask('writeTrace', [trace, texts]).then((json) => text(json, 'application/json')),
            )
          }
        >
          Trace
        </button>
        <button
          type="button"
          onClick={() =>
            attempt('The address is in the clipboard.', () => navigator.clipboard.writeText(location.href))
          }
        >
          Copy link
        </button>
      </div>
      <p role="status">{said}</p>
      <p class="quiet">The same on the command line:</p>
      <code class="command">{command}</code>
    </section>
  )
}

function download(name: string, blob: Blob): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}

async function pngOf(svg: string): Promise<Blob> {
  const image = new Image()
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = image.naturalWidth * PNG_SCALE
  canvas.height = image.naturalHeight * PNG_SCALE
  canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height)
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve))
  if (!blob) throw new Error('This picture is too large for a PNG; the SVG has no limit.')
  return blob
}
