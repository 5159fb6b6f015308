export { chooseDevice, chooseVariant } from './choose.ts'
export { describeMachine, type MachineDescription } from './machine.ts'
export { type RuntimeOptions, startRuntime } from './start.ts'
export { type Candidate, DEVICES, type Device, type Runtime, type RuntimeReport } from './types.ts'
