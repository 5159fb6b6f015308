import { systemHost } from '../../src/device/host.ts'
import { endBySignals } from '../../src/script/interrupt.ts'

/** Starts a process that says its id and sleeps, as setup does a download; for a test that ends this one. */
endBySignals()
await systemHost().run('sh', ['-c', `echo $$ > '${process.argv[2]}'; exec sleep 60`])
