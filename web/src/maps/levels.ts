// Each map of an atlas is quantized to 256 levels between its own minimum and peak (`service/core/render/atlas.py`).

import type { BlankCause } from "../api/types";

export const ZERO_LEVEL = 128; // of maps with values on both sides of 0

/** One map: levels (height x width), and its minimum and peak before ReLU. */
export interface MapCell {
  levels: Uint8Array;
  minimum: number;
  peak: number;
  blank: BlankCause;
}

/** Writes the values before ReLU of the 256 levels into `output`. */
export function levelValues(minimum: number, peak: number, output: Float32Array): Float32Array {
  if (minimum < 0 && peak > 0) {
    for (let level = 0; level < ZERO_LEVEL; level++) output[level] = minimum * (1 - level / ZERO_LEVEL);
    const positiveLevels = 255 - ZERO_LEVEL;
    for (let level = ZERO_LEVEL; level < 256; level++) output[level] = (peak * (level - ZERO_LEVEL)) / positiveLevels;
  } else {
    for (let level = 0; level < 256; level++) output[level] = minimum + ((peak - minimum) * level) / 255;
  }
  return output;
}

/** The value before ReLU at row i, column j of a map of that width. */
export function valueAt(cell: MapCell, width: number, i: number, j: number): number {
  return levelValues(cell.minimum, cell.peak, new Float32Array(256))[cell.levels[i * width + j]!]!;
}
