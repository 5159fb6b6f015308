// Preloaded into every process of a debugged run, as an editor's debugger is: notes the step at each pause, and goes on.
const { isMainThread, Worker } = require('node:worker_threads')

function watch() {
  const { appendFileSync } = require('node:fs')
  const { Session } = require('node:inspector')
  const session = new Session()
  session.connectToMainThread()
  const urls = new Map()
  session.on('Debugger.scriptParsed', ({ params: { scriptId, url } }) => urls.set(scriptId, url))
  session.on('Debugger.paused', ({ params }) => {
    const { callFrameId, location } = params.callFrames[0]
    const inFrame = { callFrameId, expression: 'step.name' }
    session.post('Debugger.evaluateOnCallFrame', inFrame, (_, { result }) => {
      const pause = { url: urls.get(location.scriptId), step: result.value }
      appendFileSync(process.env.PAUSES_FILE, `${JSON.stringify(pause)}\n`)
      session.post('Debugger.resume')
    })
  })
  session.post('Debugger.enable')
  setInterval(() => {}, 60_000) // a session alone does not keep its thread
}

// A process cannot look at itself while it is paused; a second thread can.
if (isMainThread) new Worker(`(${watch})()`, { eval: true }).unref()
