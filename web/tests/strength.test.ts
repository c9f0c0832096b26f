import { expect, test } from "vitest";
import type { MapCell } from "../src/maps/levels";
import { packPixel } from "../src/maps/pixels";
import { paintBar, strength } from "../src/maps/strength";

const map = (peak: number, blank: MapCell["blank"] = "none"): MapCell => ({
  levels: new Uint8Array(1),
  minimum: 0,
  peak,
  blank,
});

// The same cases as of the service's bars, in tests/core/test_core_strength.py.
test.each([
  [1e-3, 0.5], // four of eight decades
  [1e-5, 0.25],
  [10, 1],
  [33, 1],
  [6.6e-7, Math.log10(6.6) / 8],
  [0.0092, (Math.log10(9.2) + 4) / 8],
])("strength of the peak %d is %d", (peak, expected) => {
  expect(strength(map(peak))).toBeCloseTo(expected, 6);
});

test("a blank map has no strength, whatever its peak", () => {
  expect(strength(map(1e-8, "saturated"))).toBe(0);
  expect(strength(map(0, "dead"))).toBe(0);
});

test.each([
  [map(1e-3), 40],
  [map(0.0092), 50],
  [map(10), 80],
  [map(1.1e-7), 1],
  [map(1e-8, "saturated"), 0],
] as const)("bar of a map is as long as its strength", (cell, pixelCount) => {
  const pixels = new Uint32Array(80 * 5);
  paintBar(pixels, 80, 1, 3, cell);
  const fill = packPixel(74, 134, 200);
  const filled = [...pixels.keys()].filter((index) => pixels[index] === fill);
  expect(filled).toEqual([1, 2, 3].flatMap((row) => Array.from({ length: pixelCount }, (_, x) => 80 * row + x)));
  expect([...pixels].filter((pixel) => pixel === 0)).toHaveLength(160);
});
