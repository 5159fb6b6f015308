import { type ComponentChildren, createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import type { ExpertCards, OfferedModel, Opening } from '../build/site.ts'
import { EngineClient } from '../engine/client.ts'
import type { ModelFacts } from '../engine/protocol.ts'
import { fromStored } from '../engine/stored.ts'

/** What loads, and how far it is; null where the size is not known. */
export interface Loading {
  name: string
  share: number | null
}

export interface EngineState {
  client: EngineClient
  opening: Opening
  cards: ExpertCards
  offered: OfferedModel[]
  /** Models that are there, by id. */
  models: ReadonlyMap<string, ModelFacts>
  loading: Loading | null
  /** Why the last model could not be loaded. */
  failure: string | null
  /** Loads an offered model unless it is there. */
  need(id: string): Promise<ModelFacts>
  /** Takes a model's directory that the reader has. */
  open(dir: string, files: Map<string, Uint8Array>): Promise<ModelFacts>
}

const Context = createContext<EngineState | null>(null)

export function useEngine(): EngineState {
  return useContext(Context)!
}

type Site = Pick<EngineState, 'opening' | 'cards' | 'offered'>

/** What models there are. */
const MODELS = 'models/index.json'

async function fetchSite(): Promise<Site> {
  const text = async (path: string) => {
    const response = await fetch(path)
    if (!response.ok) throw new Error(`${path}: cannot be fetched (HTTP ${response.status})`)
    return response.text()
  }
  const [opening, cards, offered] = await Promise.all(
    ['data/opening.json', 'data/experts.json', MODELS].map(text),
  )
  return { opening: fromStored(opening), cards: JSON.parse(cards), offered: JSON.parse(offered) }
}

/** How long to wait for a service worker whose host does not answer. */
const SERVICE_MS = 20_000

/** Has a service worker keep the page, and waits until it does, or cannot: what is fetched from then on is kept too. */
async function keepForOffline(): Promise<void> {
  const { serviceWorker } = navigator
  if (!serviceWorker || !isSecureContext) return
  const registered = await serviceWorker.register('./service-worker.js').catch(() => null)
  const installing = registered?.installing
  if (!installing || serviceWorker.controller) return
  await new Promise<void>((resolve) => {
    serviceWorker.addEventListener('controllerchange', () => resolve(), { once: true })
    installing.addEventListener('statechange', () => installing.state === 'redundant' && resolve())
    setTimeout(resolve, SERVICE_MS)
  })
  await fetch(MODELS) // it came before
}

/** Starts the engine and gives it to what is inside; shows `waiting` until there is something to show. */
export function WithEngine({
  children,
  waiting,
}: {
  children: ComponentChildren
  waiting: ComponentChildren
}) {
  const [client] = useState(() => new EngineClient())
  const [site, setSite] = useState<Site | null>(null)
  const [models, setModels] = useState<ReadonlyMap<string, ModelFacts>>(new Map())
  const [loading, setLoading] = useState<Loading | null>({ name: 'the engine', share: null })
  const [failure, setFailure] = useState<string | null>(null)
  const [pending] = useState(() => new Map<string, Promise<ModelFacts>>())

  const take = async (id: string, name: string, work: () => Promise<ModelFacts>): Promise<ModelFacts> => {
    setLoading({ name, share: 0 })
    setFailure(null)
    try {
      const facts = await work()
      setModels((before) => new Map(before).set(id, facts))
      return facts
    } catch (error) {
      pending.delete(id)
      setFailure(messageOf(error))
      throw error
    } finally {
      setLoading(null)
    }
  }
  const fetchModel = (id: string, { url, bytes, name }: OfferedModel) =>
    take(id, name, () =>
      client.ask('load', [id, new URL(url, location.href).href, bytes], (share) =>
        setLoading({ name, share }),
      ),
    )
  const need = (id: string, offered = site?.offered): Promise<ModelFacts> => {
    const found = offered?.find((each) => each.id === id)
    const known =
      pending.get(id) ?? (found ? fetchModel(id, found) : Promise.reject(new Error(`${id}: no such model`)))
    pending.set(id, known)
    return known
  }
  const open = (dir: string, files: Map<string, Uint8Array>) => {
    let name = dir // another one of that name stays: it may be of an earlier step of a training
    for (let n = 2; models.has(`dropped:${name}`); n++) name = `${dir} (${n})`
    const id = `dropped:${name}`
    const opened = take(id, name, () => client.ask('open', [id, name, files]))
    pending.set(id, opened)
    return opened
  }

  useEffect(() => {
    Object.assign(globalThis, { tinymoe: client }) // for the curious, in the browser's console: docs/page.md
    const start = async () => {
      const found = await fetchSite()
      setSite(found)
      await keepForOffline()
      await need(found.offered[0].id, found.offered)
    }
    start().catch((error) => setFailure(messageOf(error)))
  }, [])

  if (!site)
    return failure ? (
      <p class="failure" role="alert">
        {failure}
      </p>
    ) : (
      waiting
    )
  return (
    <Context.Provider value={{ client, ...site, models, loading, failure, need, open }}>
      {children}
    </Context.Provider>
  )
}
