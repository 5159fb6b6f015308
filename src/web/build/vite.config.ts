import { resolve } from 'node:path'
import { defineConfig } from 'vite'

const web = resolve(import.meta.dirname, '..')

export default defineConfig({
  root: web,
  base: './', // any folder of any host
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  logLevel: 'error',
  build: {
    target: 'es2022',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
    rolldownOptions: {
      checks: { pluginTimings: false },
      input: { index: resolve(web, 'index.html'), 'service-worker': resolve(web, 'service-worker.ts') },
      output: {
        entryFileNames: ({ name }) => (name === 'service-worker' ? '[name].js' : 'assets/[name]-[hash].js'),
      },
    },
  },
})
