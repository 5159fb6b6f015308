import { useEffect, useState } from 'preact/hooks'

/** Where in the page the reader is: `#story/3`, `#play?prompt=7%2B8%3D`, `#calculator`. */
export interface Place {
  view: 'story' | 'play' | 'calculator'
  step: number
  query: URLSearchParams
}

export const STEPS = 10

export function placeOf(hash: string): Place {
  const [path, query = ''] = hash.replace(/^#/, '').split('?')
  const [view, step] = path.split('/')
  const number = Number(step)
  return {
    view: view === 'play' || view === 'calculator' ? view : 'story',
    step: Number.isInteger(number) && number >= 1 && number <= STEPS ? number : 1,
    query: new URLSearchParams(query),
  }
}

export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash)
  useEffect(() => {
    const follow = () => setHash(location.hash)
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return placeOf(hash)
}

/** Writes a state into the address without a new entry in the history. */
export function replaceHash(hash: string): void {
  history.replaceState(null, '', hash)
}
