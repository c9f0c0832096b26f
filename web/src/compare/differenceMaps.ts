// The difference of two maps, each relative to its own peak: what one network weighs more than the other.

import { levelValues, type MapCell, ZERO_LEVEL } from "../maps/levels";
import type { CellStyle, Geometry } from "../maps/paint";
import type { StyledMap } from "../maps/rowMaps";

const SCALE = { minimum: -1, peak: 1 };

/** `map` less `reference`; null if they lie at different positions of the image, so that they cannot be subtracted. */
export function differenceMap(map: StyledMap, reference: StyledMap, table: CellStyle["table"]): StyledMap | null {
  if (!hasSamePositions(map.geometry, reference.geometry)) return null;
  const [values, others] = [relativeValues(map.cell), relativeValues(reference.cell)];
  const levels = values.map((value, index) => {
    const difference = value - others[index]!;
    return ZERO_LEVEL + difference * (difference > 0 ? 255 - ZERO_LEVEL : ZERO_LEVEL);
  });
  return {
    cell: { levels: Uint8Array.from(levels, Math.round), ...SCALE, blank: "none" },
    geometry: map.geometry,
    style: { style: "signed", table, scale: SCALE, opacity: 1 },
    isOutdated: map.isOutdated || reference.isOutdated,
  };
}

/** The values of equation 2 in 0..1 of the map's peak; zeros for a blank map. */
function relativeValues({ levels, minimum, peak, blank }: MapCell): number[] {
  if (blank !== "none" || peak <= 0) return Array.from(levels, () => 0);
  const table = levelValues(minimum, peak, new Float32Array(256));
  return Array.from(levels, (level) => Math.max(0, table[level]!) / peak);
}

const hasSamePositions = (a: Geometry, b: Geometry): boolean =>
  a.width === b.width && a.height === b.height && a.first === b.first && a.step === b.step;
