import { describe, expect, test } from "vitest";
import { levelValues, type MapCell, valueAt, ZERO_LEVEL } from "../src/maps/levels";

const values = (minimum: number, peak: number) => levelValues(minimum, peak, new Float32Array(256));

describe("levelValues", () => {
  test("of a map above 0 are even from its minimum to its peak", () => {
    const table = values(1, 256);
    expect([table[0], table[1], table[128], table[255]]).toEqual([1, 2, 129, 256]);
  });

  test("of a map below 0 are even as well", () => {
    const table = values(-255, 0);
    expect([table[0], table[55], table[255]]).toEqual([-255, -200, 0]);
  });

  test("of a map on both sides of 0 have an exact 0, and both ends", () => {
    const table = values(-2, 10);
    expect(table[ZERO_LEVEL]).toBe(0);
    expect([table[0], table[255]]).toEqual([-2, 10]);
    expect(table[64]).toBeCloseTo(-1);
  });

  test("of a constant map are that constant", () => {
    expect(new Set(values(3, 3))).toEqual(new Set([3]));
  });

  test("never decrease from level to level", () => {
    for (const [minimum, peak] of [
      [-3, 5],
      [0, 1],
      [-9, -2],
    ] as const) {
      const table = values(minimum, peak);
      expect(table.every((value, level) => level === 0 || value >= table[level - 1]!)).toBe(true);
    }
  });
});

test("valueAt reads rows before columns", () => {
  const cell: MapCell = { levels: Uint8Array.of(0, 51, 102, 153, 204, 255), minimum: 0, peak: 5, blank: "none" };
  expect(valueAt(cell, 3, 0, 2)).toBeCloseTo(2);
  expect(valueAt(cell, 3, 1, 0)).toBeCloseTo(3);
  expect(valueAt(cell, 3, 1, 2)).toBeCloseTo(5);
});
