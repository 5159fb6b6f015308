/*
 * Keeps the page for when there is no network. The page's own files come with their build's name and never change; everything else
 * (models, which may be retrained or one's own) is fetched where that works, and kept.
 */

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void
}
interface FetchEvent extends ExtendableEvent {
  request: Request
  respondWith(response: Promise<Response>): void
}
const worker = self as unknown as {
  skipWaiting(): Promise<void>
  clients: { claim(): Promise<void> }
  registration: { scope: string }
}

/** Put in by the build, which knows what it made. */
const { build, files } = '__FILES__' as unknown as { build: string; files: string[] }
const CACHE = `tinymoe-${build}`

async function install(): Promise<void> {
  const cache = await caches.open(CACHE)
  await cache.addAll(files)
  await worker.skipWaiting()
}

async function activate(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith('tinymoe-') && name !== CACHE)
  await Promise.all(old.map((name) => caches.delete(name)))
  await worker.clients.claim()
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE)
  const named = new URL(request.url).pathname.includes('/assets/')
  const kept = await cache.match(request, { ignoreSearch: true })
  if (named && kept) return kept
  try {
    const response = await fetch(request)
    if (response.ok) await cache.put(request, response.clone())
    return response
  } catch (error) {
    if (kept) return kept
    throw error
  }
}

addEventListener('install', (event) => (event as ExtendableEvent).waitUntil(install()))
addEventListener('activate', (event) => (event as ExtendableEvent).waitUntil(activate()))
addEventListener('fetch', (event) => {
  const { request, respondWith } = event as FetchEvent
  const own = request.method === 'GET' && request.url.startsWith(worker.registration.scope)
  if (own) respondWith.call(event, answer(request))
})
