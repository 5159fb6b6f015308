import { render } from 'preact'
import { App } from './app/app.tsx'

const root = document.getElementById('page')!
root.textContent = ''
render(<App />, root)
