import { useEffect, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import { useEngine } from '../app/engine.tsx'
import { droppedFiles, type PickedFolder, pickedFolder } from './files.ts'
import { usePlay } from './state.tsx'

/** A checkpoint of one's own, or a trace that the command line saved: dropped anywhere, or picked. Nothing leaves the browser. */
export function OwnFiles() {
  const { open, client } = useEngine()
  const { setModel, setSaved } = usePlay()
  const [error, setError] = useState<string | null>(null)
  const [over, setOver] = useState(false)
  const attempt = (work: Promise<unknown>) => {
    setError(null)
    work.catch((failure) => setError(messageOf(failure)))
  }
  const openFolder = async ({ dir, files }: PickedFolder) => setModel((await open(dir, files)).id)
  const openTrace = async (file: File) => {
    const { trace, texts } = await client.ask('readTrace', [await file.text(), file.name])
    setSaved({ name: file.name, trace, texts: texts ?? trace.rows.map(({ token }) => `#${token}`) })
  }
  useEffect(() => {
    const allow = (event: DragEvent) => {
      event.preventDefault()
      setOver(event.type === 'dragover')
    }
    const drop = (event: DragEvent) => {
      event.preventDefault()
      setOver(false)
      if (!event.dataTransfer) return
      attempt(
        droppedFiles(event.dataTransfer).then((found) =>
          found instanceof File ? openTrace(found) : found && openFolder(found),
        ),
      )
    }
    addEventListener('dragover', allow)
    addEventListener('dragleave', allow)
    addEventListener('drop', drop)
    return () => {
      removeEventListener('dragover', allow)
      removeEventListener('dragleave', allow)
      removeEventListener('drop', drop)
    }
  }, [])
  return (
    <section class={`card own${over ? ' over' : ''}`} aria-labelledby="own-heading">
      <h2 id="own-heading">Your own model or trace</h2>
      <p>
        Drop a checkpoint's folder (config.json, safetensors, tokenizer.json) or a trace of{' '}
        <code>tinymoe trace --out</code> here, or pick one. It stays in this browser.
      </p>
      <div class="buttons">
        <label class="button">
          Checkpoint folder
          <input
            type="file"
            class="unseen"
            {...{ webkitdirectory: true }}
            onChange={({ currentTarget }) => {
              if (currentTarget.files)
                attempt(pickedFolder(currentTarget.files).then((folder) => folder && openFolder(folder)))
              currentTarget.value = '' // so that the same one may be picked again
            }}
          />
        </label>
        <label class="button">
          Trace file
          <input
            type="file"
            class="unseen"
            accept=".json,application/json"
            onChange={({ currentTarget }) => {
              if (currentTarget.files?.[0]) attempt(openTrace(currentTarget.files[0]))
              currentTarget.value = ''
            }}
          />
        </label>
      </div>
      {error && (
        <p class="failure" role="alert">
          {error}
        </p>
      )}
    </section>
  )
}
