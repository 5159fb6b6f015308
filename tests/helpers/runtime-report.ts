import type { RuntimeReport } from '../../src/device/report.ts'

/** Of native TensorFlow on a processor that does not exist. */
export function runtimeReport(): RuntimeReport {
  return {
    device: 'cpu',
    backend: 'tensorflow',
    reason: 'native TensorFlow on the processor',
    candidates: [],
    deviceName: 'Some Processor',
    memoryBytes: null,
    driver: null,
    computeCapability: null,
    tensorflowVersion: '2.21.0',
    tfjsVersion: '4.22.0',
    nodeVersion: '20.0.0',
    platform: 'linux x64',
    cpuModel: null,
    cpuFeatures: [],
    threads: 2,
  }
}
