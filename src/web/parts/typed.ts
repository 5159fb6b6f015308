import { useEffect, useState } from 'preact/hooks'

/** Milliseconds without a key before a text is read. */
const PAUSE_MS = 200

/** A text as it is typed, handed on when the typing pauses; `waiting` until then. An empty one is not: there is nothing to run. */
export function useTyped(text: string, onText: (text: string) => void) {
  const [own, setOwn] = useState(text)
  const waiting = own !== text && own !== ''
  useEffect(() => setOwn(text), [text])
  useEffect(() => {
    if (!waiting) return
    const timer = setTimeout(() => onText(own), PAUSE_MS)
    return () => clearTimeout(timer)
  }, [own])
  return { own, setOwn, waiting }
}
