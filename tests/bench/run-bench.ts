import { Command } from 'commander'
import { register as registerBench } from '../../src/cli/bench.ts'

/** The bench command alone, as a process: `tsx run-bench.ts bench ...`, for tests that send it signals. */
const program = new Command('tinymoe').option('--json').option('--debug').option('--device <name>')
registerBench(program)
process.on('newListener', (event) => {
  if (event === 'SIGINT') process.stderr.write('listening\n') // a test may interrupt from now on
})
await program.parseAsync()
