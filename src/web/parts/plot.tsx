import type { PlotOptions } from '@observablehq/plot'
import { useEffect, useRef } from 'preact/hooks'

/** Pixels of a plot's width; a narrower place shows it smaller. */
const WIDTHS = { least: 480, most: 760 }

/** A plot; what draws it comes when the first one is shown. Its height is kept free before. */
export function PlotFigure({
  options,
  label,
}: {
  options: (plots: typeof import('../../cost/plots.ts')) => PlotOptions & { height: number }
  label: string
}) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    let shown = true
    Promise.all([import('@observablehq/plot'), import('../../cost/plots.ts')]).then(([Plot, plots]) => {
      if (!shown || !box.current) return
      const width = Math.min(WIDTHS.most, Math.max(WIDTHS.least, box.current.clientWidth))
      const svg = Plot.plot({
        width,
        ...options(plots),
        style: { background: 'none', fontSize: '13px', color: 'var(--ink)' },
      })
      for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label') // its own, of marks
      svg.setAttribute('role', 'img')
      svg.setAttribute('aria-label', label)
      box.current.replaceChildren(svg)
    })
    return () => {
      shown = false
    }
  })
  return <div class="plot" ref={box} />
}
