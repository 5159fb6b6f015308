import { SetupError } from '../errors.ts'

/** Which build of TensorFlow: the processor alone, or NVIDIA cards too (it can also run on the processor). */
export const VARIANTS = ['cpu', 'cuda'] as const
export type Variant = (typeof VARIANTS)[number]

/** The one release that tinymoe prepares, and what is known of its official wheels. */
export const TENSORFLOW = {
  version: '2.21.0',
  /** CUDA 12 by minor-version compatibility: tensorflow.org/install/pip and NVIDIA's CUDA Compatibility guide. */
  minimumDriver: '525.60.13',
  /** Kernels in the wheel: sm_60, sm_70, sm_80, sm_89, compute_90 (`.bazelrc`, config cuda12). */
  minimumCapability: '6.0',
  maximumCapability: '9.0',
  /** manylinux_2_27 wheels. */
  minimumGlibc: '2.27',
} as const

/** What of tinymoe has met a card, for whoever asks `doctor`; docs/gpu.md says more. To be changed with the first report of one. */
export const CARD_TRIALS = {
  /** Cards that it ran on. */
  ranOn: [] as readonly string[],
  checkedWithout: 'where TensorFlow places each recorded step and what it copies (docs/gpu.md)',
} as const

/** Room that a setup takes at its peak, wheels and unpacked files together, measured and rounded up. */
export const DISK_BYTES: Record<Variant, number> = { cpu: 1.2e9, cuda: 6.9e9 }

/** NVIDIA's wheels are tagged by one or another of these names for the same thing. */
export const NVIDIA_PLATFORMS = [
  'manylinux_2_27_x86_64',
  'manylinux_2_17_x86_64',
  'manylinux2014_x86_64',
  'manylinux1_x86_64',
]

/** What is kept of the TensorFlow wheel and linked into the addon. */
export function libraryNames(platform: string): string[] {
  return platform === 'darwin'
    ? ['libtensorflow_cc.2.dylib', 'libtensorflow_framework.2.dylib']
    : ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']
}

/** The npm package whose addon a variant is compiled as. */
export const ADDON_PACKAGES: Record<Variant, string> = {
  cpu: '@tensorflow/tfjs-node',
  cuda: '@tensorflow/tfjs-node-gpu',
}

/** The wheel of one variant on one platform, as the package index names it. */
export interface WheelName {
  project: string
  platformTag: string
}

const WHEELS: Record<string, WheelName> = {
  'linux-x64-cpu': { project: 'tensorflow-cpu', platformTag: 'manylinux_2_27_x86_64' },
  'linux-x64-cuda': { project: 'tensorflow', platformTag: 'manylinux_2_27_x86_64' },
  'linux-arm64-cpu': { project: 'tensorflow-cpu', platformTag: 'manylinux_2_27_aarch64' },
  'darwin-arm64-cpu': { project: 'tensorflow', platformTag: 'macosx_12_0_arm64' },
}

export function hasWheel(variant: Variant, platform: string, arch: string): boolean {
  return `${platform}-${arch}-${variant}` in WHEELS
}

export function wheelFor(variant: Variant, platform: string, arch: string): WheelName {
  const wheel = WHEELS[`${platform}-${arch}-${variant}`]
  if (!wheel) throw new SetupError(`there is no ${variant} build of TensorFlow for ${platform} ${arch}`)
  return wheel
}

/** Orders dotted versions by their numbers: -1, 0 or 1. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return Math.sign(difference)
  }
  return 0
}
