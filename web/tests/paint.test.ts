import { describe, expect, test } from "vitest";
import type { BlankCause } from "../src/api/types";
import type { MapCell } from "../src/maps/levels";
import { type CellStyle, containedRegion, type Geometry, paintCell } from "../src/maps/paint";
import { blendTable, dimPixel, overlayPixel, packPixel, parseColorTable } from "../src/maps/pixels";

const SIZE = 8;
const BLUE = packPixel(0, 0, 200);

/** A table whose entry n is the gray of level n. */
const GRAYS = parseColorTable(
  Array.from({ length: 256 }, (_, level) => level.toString(16).padStart(2, "0").repeat(3)).join(""),
);

/** As many positions as pixels, each centered on its own. */
const GEOMETRY: Geometry = { width: SIZE, height: SIZE, imageWidth: SIZE, imageHeight: SIZE, first: 0, step: 1 };

const map = (levels: number[], extra: Partial<MapCell> = {}): MapCell => ({
  levels: Uint8Array.from(levels),
  minimum: 0,
  peak: 255,
  blank: "none",
  ...extra,
});

const ramp = Array.from({ length: SIZE * SIZE }, (_, i) => i * 4);

function painted(cell: MapCell, style: Partial<CellStyle> = {}, geometry = GEOMETRY): Uint32Array {
  const pixels = new Uint32Array(SIZE * SIZE);
  const image = new Uint32Array(SIZE * SIZE).fill(BLUE);
  const region = { pixels, stride: SIZE, x: 0, y: 0, width: SIZE, height: SIZE };
  paintCell(region, cell, geometry, image, { style: "heatmap", table: GRAYS, scale: null, opacity: 0.85, ...style });
  return pixels;
}

const gray = (level: number) => packPixel(level, level, level);

describe("paintCell", () => {
  test("draws each position in the color of its value", () => {
    expect([...painted(map(ramp))]).toEqual(ramp.map(gray));
  });

  test("draws an overlay with an opacity that follows the value", () => {
    // a = 0.5 * sqrt(252 / 255), as 127/256: 252 * 127 / 256 = 125.0, and 200 * 129 / 256 more of blue.
    const pixels = painted(map(ramp), { style: "overlay", opacity: 0.5 });
    expect(pixels[0]).toBe(BLUE);
    expect(pixels[63]).toBe(packPixel(125, 125, 226));
  });

  test("draws values below 0 as 0, except in the signed style", () => {
    const levels = Array(SIZE * SIZE).fill(0);
    const negative = map(levels, { minimum: -255, peak: 255 });
    expect(painted(negative)[0]).toBe(gray(0));
    expect(painted(negative, { style: "signed" })[0]).toBe(gray(0));
    const zero = map(levels.fill(128), { minimum: -255, peak: 255 });
    expect(painted(zero, { style: "signed" })[0]).toBe(gray(128));
  });

  test("uses a common scale instead of the map's own", () => {
    const half = painted(map(Array(SIZE * SIZE).fill(255), { peak: 1 }), { scale: { minimum: 0, peak: 2 } });
    expect(half[0]).toBe(gray(128));
  });

  test("interpolates between positions, and fades out beyond the outermost", () => {
    const one: Geometry = { ...GEOMETRY, width: 1, height: 1, first: 3, step: 4 };
    const row = [...painted(map([255]), {}, one).subarray(3 * SIZE, 4 * SIZE)].map((pixel) => pixel & 255);
    expect(row).toEqual([64, 128, 191, 255, 191, 128, 64, 0]);
  });

  test("leaves pixels outside of its region alone", () => {
    const pixels = new Uint32Array(SIZE * SIZE);
    const region = { pixels, stride: SIZE, x: 2, y: 3, width: 2, height: 2 };
    const style: CellStyle = { style: "heatmap", table: GRAYS, scale: null, opacity: 1 };
    paintCell(region, map(Array(64).fill(255)), GEOMETRY, new Uint32Array(4), style);
    const touched = [...pixels.keys()].filter((index) => pixels[index] !== 0);
    expect(touched).toEqual([26, 27, 34, 35]);
  });
});

describe("containedRegion", () => {
  const pixels = new Uint32Array(SIZE * SIZE);

  test("has the aspect ratio of the image, in the middle of the square", () => {
    const region = containedRegion(
      { pixels, stride: SIZE, x: 0, y: 0, side: SIZE },
      { ...GEOMETRY, imageWidth: 96, imageHeight: 48 },
    );
    expect(region).toEqual({ pixels, stride: SIZE, x: 0, y: 2, width: 8, height: 4 });
  });

  test("of a map over a portrait image is painted row by row of its own width", () => {
    pixels.fill(0);
    const portrait = { ...GEOMETRY, width: 1, height: 2, imageWidth: 1, imageHeight: 2 };
    const region = containedRegion({ pixels, stride: SIZE, x: 0, y: 0, side: 2 }, portrait);
    const style: CellStyle = { style: "heatmap", table: GRAYS, scale: null, opacity: 1 };
    paintCell(region, map([255, 51]), portrait, new Uint32Array(2), style);
    const touched = [...pixels.entries()].filter(([, pixel]) => pixel !== 0);
    expect(touched).toEqual([
      [0, gray(255)],
      [8, gray(51)],
    ]);
  });
});

describe("overlayPixel", () => {
  const YELLOW = 0xfde725; // viridis's level 255; its level 64 is 0x3b528b
  const hexTable = (level: number, color: number) =>
    parseColorTable(
      Array.from({ length: 256 }, (_, i) => (i === level ? color : 0).toString(16).padStart(6, "0")).join(""),
    );

  type Rgb = [number, number, number];

  // The same cases as of the service's overlays, in tests/core/test_core_overlay.py.
  test.each<[number, number, Rgb, number, Rgb]>([
    [0, 0x440154, [255, 255, 255], 1, [255, 255, 255]],
    [0, 0x440154, [10, 20, 30], 0.85, [10, 20, 30]],
    [255, YELLOW, [0, 0, 0], 1, [253, 231, 37]],
    [255, YELLOW, [255, 255, 255], 1, [253, 231, 37]],
    [255, YELLOW, [0, 0, 0], 0.5, [127, 116, 19]],
    [255, YELLOW, [255, 255, 255], 0.5, [254, 243, 146]],
    [64, 0x3b528b, [255, 255, 255], 0.5, [206, 212, 226]],
    [255, YELLOW, [0, 0, 0], 0.85, [215, 197, 32]],
    [255, YELLOW, [255, 255, 255], 0, [255, 255, 255]],
  ])("of level %i, color %i, image %j and opacity %d", (level, color, image, opacity, pixel) => {
    const blend = blendTable(hexTable(level, color), opacity);
    expect(overlayPixel(blend, level, packPixel(...image))).toBe(packPixel(...pixel));
  });
});

describe("a blank map", () => {
  const stripes = (cause: BlankCause, style: Partial<CellStyle> = {}) => {
    const pixels = painted(map(ramp, { blank: cause }), style);
    const [dimmed] = Uint32Array.of(dimPixel(BLUE));
    return [...pixels.keys()].filter((index) => pixels[index] !== dimmed);
  };

  test("is hatched over the dimmed image, each cause in another way", () => {
    const hatchings = (["saturated", "all-negative", "dead", "not-finite"] as const).map((cause) => stripes(cause));
    expect(new Set(hatchings.map(String)).size).toBe(4);
    for (const hatching of hatchings) expect(hatching.length).toBeLessThan(SIZE * SIZE);
    const [rising, falling, both] = hatchings;
    expect(new Set(both)).toEqual(new Set([...rising!, ...falling!]));
  });

  test("is drawn in the signed style, unless it is not finite", () => {
    expect([...painted(map(ramp, { blank: "saturated" }), { style: "signed" })]).toEqual([
      ...painted(map(ramp), { style: "signed" }),
    ]);
    expect(stripes("not-finite", { style: "signed" })).toEqual(stripes("not-finite"));
  });
});
