export type ScaleName = "map" | "strip" | "run";
export type DrawStyle = "overlay" | "heatmap" | "signed";

/** The lowest and the highest value that are drawn: of the weighted sum before ReLU, and of equation 2. */
export interface Scale {
  minimum: number;
  peak: number;
}

/** The scale that covers all of these; from 0 to 0 if there are none. */
export function commonScale(scales: Iterable<Scale>): Scale {
  let minimum = Infinity;
  let peak = 0;
  for (const scale of scales) {
    minimum = Math.min(minimum, scale.minimum);
    peak = Math.max(peak, scale.peak);
  }
  return { minimum: Number.isFinite(minimum) ? minimum : 0, peak };
}
