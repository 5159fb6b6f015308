import { useEffect, useRef, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import { useEngine } from '../app/engine.tsx'
import { Busy } from '../parts/controls.tsx'
import { droppedFiles, type PickedFolder, pickedFolder } from './files.ts'
import { usePlay } from './state.tsx'

/** Takes what is dropped anywhere on the page; true while something is held over it. */
function useDrop(onDrop: (transfer: DataTransfer) => void): boolean {
  const [over, setOver] = useState(false)
  const take = useRef(onDrop)
  take.current = onDrop
  useEffect(() => {
    const allow = (event: DragEvent) => {
      event.preventDefault()
      setOver(event.type === 'dragover')
    }
    const drop = (event: DragEvent) => {
      event.preventDefault()
      setOver(false)
      if (event.dataTransfer) take.current(event.dataTransfer)
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
  return over
}

/** A checkpoint of one's own, or a trace that the command line saved: dropped anywhere, or picked. Nothing leaves the browser. */
export function OwnFiles() {
  const { open, client } = useEngine()
  const { setModel, setSaved } = usePlay()
  const [error, setError] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const attempt = (work: Promise<unknown>) => {
    setError(null)
    setBusy(true)
    work.catch((failure) => setError(messageOf(failure))).finally(() => setBusy(false))
  }
  const openFolder = async ({ dir, files }: PickedFolder) => setModel((await open(dir, files)).id)
  const openTrace = async (file: File) => {
    const { trace, texts } = await client.ask('readTrace', [await file.text(), file.name])
    setSaved({ name: file.name, trace, texts: texts ?? trace.rows.map(({ token }) => `#${token}`) })
  }
  const take = (found: PickedFolder | File | null) =>
    found instanceof File ? openTrace(found) : found ? openFolder(found) : Promise.resolve()
  const over = useDrop((transfer) => attempt(droppedFiles(transfer).then(take)))
  return (
    <section class={`card own${over ? ' over' : ''}`} aria-labelledby="own-heading">
      <h2 id="own-heading">Your own model or trace</h2>
      <p>
        Drop a checkpoint (its folder, or config.json, safetensors and tokenizer.json) or a trace of{' '}
        <code>tinymoe trace --out</code> here, or pick one. It stays in this browser.
      </p>
      <div class="buttons">
        <Picker
          label="Checkpoint folder"
          input={{ webkitdirectory: true }}
          onPick={(files) => attempt(pickedFolder(files).then(take))}
        />
        <Picker
          label="Trace file"
          input={{ accept: '.json,application/json' }}
          onPick={([file]) => attempt(take(file))}
        />
      </div>
      <Busy busy={busy} />
      {error && (
        <p class="failure" role="alert">
          {error}
        </p>
      )}
    </section>
  )
}

interface PickerProps {
  label: string
  /** Attributes that say what may be picked. */
  input: Record<string, unknown>
  onPick(files: File[]): void
}

function Picker({ label, input, onPick }: PickerProps) {
  return (
    <label class="button">
      {label}
      <input
        type="file"
        class="unseen"
        {...input}
        onChange={({ currentTarget }) => {
          const files = [...(currentTarget.files ?? [])]
          currentTarget.value = '' // so that the same one may be picked again
          if (files.length > 0) onPick(files)
        }}
      />
    </label>
  )
}
