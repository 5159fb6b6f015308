/** Numbers [D] as one strip: orange above zero, blue below, fainter towards it. */
export function Strip({ values, label, most }: { values: ArrayLike<number>; label: string; most?: number }) {
  const all = Array.from(values)
  const largest = most ?? Math.max(...all.map(Math.abs), 1e-9)
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const text = `${label}: ${all.length} numbers from ${low.toFixed(2)} to ${high.toFixed(2)}`
  return (
    <svg
      class="strip"
      viewBox={`0 0 ${all.length} 10`}
      preserveAspectRatio="none"
      role="img"
      aria-label={text}
    >
      {all.map((value, d) => (
        <rect
          key={d}
          x={d}
          width="1.05"
          height="10"
          class={value < 0 ? 'below' : 'above'}
          opacity={Math.min(1, Math.abs(value) / largest).toFixed(2)}
        />
      ))}
    </svg>
  )
}
