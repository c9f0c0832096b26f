import { expect, test } from "vitest";
import { differenceMap } from "../src/compare/differenceMaps";
import { levelValues } from "../src/maps/levels";
import type { Geometry } from "../src/maps/paint";
import type { StyledMap } from "../src/maps/rowMaps";

const GEOMETRY: Geometry = { width: 3, height: 1, imageWidth: 3, imageHeight: 1, first: 0, step: 1 };
const TABLE = new Uint32Array(256);

const map = (levels: number[], peak: number, changes: Partial<StyledMap> = {}): StyledMap => ({
  cell: { levels: Uint8Array.from(levels), minimum: 0, peak, blank: "none" },
  geometry: GEOMETRY,
  style: { style: "overlay", table: TABLE, scale: null, opacity: 1 },
  isOutdated: false,
  ...changes,
});

const valuesOf = ({ cell }: StyledMap): number[] => {
  const table = levelValues(cell.minimum, cell.peak, new Float32Array(256));
  return [...cell.levels].map((level) => table[level]!);
};

test("maps are compared relative to their own peaks", () => {
  // 0, 0.2 and 1 of its peak, less 1, 0.2 and 0 of a peak a hundred times as large.
  const difference = differenceMap(map([0, 51, 255], 0.04), map([255, 51, 0], 4), TABLE)!;
  expect(valuesOf(difference).map((value) => Math.round(value * 100) / 100)).toEqual([-1, 0, 1]);
  expect(difference.style.style).toBe("signed");
});

test("a blank map counts as zero", () => {
  const blank = map([0, 0, 0], 1e-9);
  blank.cell.blank = "saturated";
  const difference = differenceMap(map([255, 0, 0], 2), blank, TABLE)!;
  expect(valuesOf(difference)).toEqual([1, 0, 0]);
});

test("maps at other positions have no difference", () => {
  expect(
    differenceMap(map([0, 0, 1], 1), map([0, 0, 1], 1, { geometry: { ...GEOMETRY, first: 2 } }), TABLE),
  ).toBeNull();
});
