// An atlas has each map in 256 levels of its own, with the values that levels 0 and 255 stand for.
// `service/core/render/atlas.py` is the other side of this rule.

import type { BlankCause } from "../api/types";

export const ZERO_LEVEL = 128; // of maps with values on both sides of 0

/** One map: levels (height x width) and the values before ReLU of the lowest and highest. */
export interface MapCell {
  levels: Uint8Array;
  minimum: number;
  peak: number;
  blank: BlankCause;
}

/** The values (256) that a map's levels stand for, before ReLU. */
export function valuesOf(minimum: number, peak: number, into: Float32Array): Float32Array {
  if (minimum < 0 && peak > 0) {
    for (let level = 0; level < ZERO_LEVEL; level++) into[level] = minimum * (1 - level / ZERO_LEVEL);
    const above = 255 - ZERO_LEVEL;
    for (let level = ZERO_LEVEL; level < 256; level++) into[level] = (peak * (level - ZERO_LEVEL)) / above;
  } else {
    for (let level = 0; level < 256; level++) into[level] = minimum + ((peak - minimum) * level) / 255;
  }
  return into;
}

/** The value before ReLU at a position (row i, column j) of a map `width` wide. */
export function valueAt(cell: MapCell, width: number, i: number, j: number): number {
  return valuesOf(cell.minimum, cell.peak, new Float32Array(256))[cell.levels[i * width + j]!]!;
}
