// Strength bars: a map's peak on a logarithmic scale, which colors of a scale of its own hide. As in the service's
// sheets (`service/core/render/strength.py`).

import type { MapCell } from "./levels";
import { packPixel } from "./pixels";

/** The peaks of an empty and of a full bar, the same for all maps. */
export const WEAKEST_PEAK = 1e-7;
export const STRONGEST_PEAK = 10;

const FILL = packPixel(74, 134, 200);
const TRACK = 0x40808080; // a quarter opaque, for both themes

/** Position of the peak between the weakest and the strongest on a logarithmic scale, 0 to 1; 0 for a blank map. */
export function strength({ peak, blank }: Pick<MapCell, "peak" | "blank">): number {
  if (blank !== "none") return 0;
  return Math.min(1, Math.log(peak / WEAKEST_PEAK) / Math.log(STRONGEST_PEAK / WEAKEST_PEAK));
}

/** Paints the map's bar over whole rows of a buffer, at least a pixel long unless the map is blank. */
export function paintBar(pixels: Uint32Array, width: number, top: number, height: number, cell: MapCell): void {
  const share = strength(cell);
  const length = share > 0 ? Math.max(1, Math.round(share * width)) : 0;
  for (let row = top; row < top + height; row++) {
    pixels.fill(FILL, row * width, row * width + length);
    pixels.fill(TRACK, row * width + length, (row + 1) * width);
  }
}
