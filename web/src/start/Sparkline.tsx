const WIDTH = 96; // CSS pixels
const HEIGHT = 26;
const MARGIN = 2;

/** Values from 0 to 1 as a small line, for sighted readers of the number beside it. */
export function Sparkline({ values }: { values: number[] }) {
  if (values.length < 2) return null;
  const x = (index: number) => (index / (values.length - 1)) * (WIDTH - 2 * MARGIN) + MARGIN;
  const y = (value: number) => HEIGHT - MARGIN - value * (HEIGHT - 2 * MARGIN);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return (
    <svg class="sparkline" width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <polyline points={points} fill="none" />
      <circle cx={x(values.length - 1)} cy={y(values.at(-1)!)} r="2" />
    </svg>
  );
}
