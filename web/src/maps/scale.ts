import type { MapCell } from "./levels";

export type ScaleName = "map" | "strip" | "run";
export type Style = "overlay" | "heatmap" | "signed";

/** What is drawn as the lowest and the highest value: of the sum before ReLU, and of equation 2. */
export interface Scale {
  minimum: number;
  peak: number;
}

/** The scale over maps that share it; over none, an empty one. */
export function shared(cells: Iterable<Scale>): Scale {
  let minimum = Infinity;
  let peak = 0;
  for (const cell of cells) {
    minimum = Math.min(minimum, cell.minimum);
    peak = Math.max(peak, cell.peak);
  }
  return { minimum: Number.isFinite(minimum) ? minimum : 0, peak };
}

export const ownScale = (cell: MapCell): Scale => ({ minimum: cell.minimum, peak: cell.peak });
