// Draws a map as the service does: bilinear interpolation between the centers of its positions' receptive fields,
// fading out beyond the outermost ones, over the image with an opacity that follows the map. Blank maps are hatched.

import type { BlankCause } from "../api/types";
import { levelValues, type MapCell } from "./levels";
import { blendTable, type ColorTable, dimPixel, overlayPixel, packPixel } from "./pixels";
import type { DrawStyle, Scale } from "./scale";

/** Where the positions of a map lie on the image. */
export interface Geometry {
  width: number; // positions
  height: number;
  imageWidth: number; // pixels
  imageHeight: number;
  first: number; // the pixel that position 0 is centered on
  step: number; // pixels from one position to the next
}

export interface CellStyle {
  style: DrawStyle;
  table: ColorTable;
  scale: Scale | null; // null: the map's own
  opacity: number; // of an overlay's colors at the top of the scale, 0 to 1
}

/** A rectangular region of a pixel buffer. */
export interface PixelRegion {
  pixels: Uint32Array;
  stride: number; // pixels per row of the buffer
  x: number;
  y: number;
  width: number; // pixels
  height: number;
}

/** For each sample along an axis: the padded position before it, and the weight of the position after it. */
interface Interpolation {
  before: Int32Array;
  weight: Float32Array;
}

const interpolations = new Map<string, Interpolation>();

function interpolate(geometry: Geometry, positions: number, imagePixels: number, size: number): Interpolation {
  const key = `${geometry.first} ${geometry.step} ${positions} ${imagePixels} ${size}`;
  const cached = interpolations.get(key);
  if (cached) return cached;
  const before = new Int32Array(size);
  const weight = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const imagePixel = ((i + 0.5) * imagePixels) / size - 0.5;
    const position = Math.min(Math.max((imagePixel - geometry.first) / geometry.step, -1), positions) + 1;
    before[i] = Math.min(Math.floor(position), positions);
    weight[i] = position - before[i]!;
  }
  const interpolation = { before, weight };
  interpolations.set(key, interpolation);
  return interpolation;
}

// Buffers that all calls share: levels in the color table, the map padded by one position, one of its rows.
const tableLevels = new Float32Array(256);
let padded = new Float32Array(0);
let rowLevels = new Float32Array(0);

/** The largest region of a square that has the aspect ratio of the geometry's image, in its middle. */
export function containedRegion(
  square: Omit<PixelRegion, "width" | "height"> & { side: number },
  geometry: Geometry,
): PixelRegion {
  const { pixels, stride, x, y, side } = square;
  const { width, height } = containedSize(geometry.imageWidth, geometry.imageHeight, side);
  return { pixels, stride, x: x + ((side - width) >> 1), y: y + ((side - height) >> 1), width, height };
}

/** Width and height of an image whose longer side is scaled to `side` pixels; at least one pixel. */
export function containedSize(width: number, height: number, side: number): { width: number; height: number } {
  const scale = side / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** Paints a map over its input image, which has as many pixels as the region, into the region. */
export function paintCell(
  region: PixelRegion,
  cell: MapCell,
  geometry: Geometry,
  image: Uint32Array,
  style: CellStyle,
): void {
  // The signed style draws blank maps too, but no color represents a value that is not finite.
  if (cell.blank === "not-finite" || (cell.blank !== "none" && style.style !== "signed")) {
    paintHatching(region, image, cell.blank);
    return;
  }
  const zeroLevel = fillTableLevels(cell, style);
  fillPadded(cell, geometry, zeroLevel);
  paintPadded(region, geometry, image, style);
}

/** Fills `tableLevels` with the color of each of the map's levels, 0 to 255, and returns the level of 0. */
function fillTableLevels(cell: MapCell, style: CellStyle): number {
  const scale = style.scale ?? cell;
  const isSigned = style.style === "signed";
  const limit = Math.max(scale.peak, -scale.minimum);
  const low = isSigned ? -limit : Math.max(0, scale.minimum);
  const extent = isSigned ? 2 * limit : scale.peak - low;
  const factor = extent > 0 ? 255 / extent : 0;
  levelValues(cell.minimum, cell.peak, tableLevels);
  for (let level = 0; level < 256; level++) {
    const value = tableLevels[level]!;
    tableLevels[level] = ((isSigned ? value : Math.max(0, value)) - low) * factor;
  }
  return isSigned ? 127.5 : -low * factor;
}

function fillPadded(cell: MapCell, { width, height }: Geometry, zeroLevel: number): void {
  const paddedWidth = width + 2;
  const count = paddedWidth * (height + 2);
  if (padded.length < count) padded = new Float32Array(count);
  if (rowLevels.length < paddedWidth) rowLevels = new Float32Array(paddedWidth);
  padded.fill(zeroLevel, 0, count);
  for (let i = 0; i < height; i++) {
    const start = (i + 1) * paddedWidth + 1;
    for (let j = 0; j < width; j++) padded[start + j] = tableLevels[cell.levels[i * width + j]!]!;
  }
}

function paintPadded(region: PixelRegion, geometry: Geometry, image: Uint32Array, style: CellStyle): void {
  const { pixels, stride, x, y, width, height } = region;
  const { table } = style;
  const blend = blendTable(table, style.opacity);
  const columns = interpolate(geometry, geometry.width, geometry.imageWidth, width);
  const rows = interpolate(geometry, geometry.height, geometry.imageHeight, height);
  const paddedWidth = geometry.width + 2;
  const isOverlay = style.style === "overlay";
  for (let i = 0; i < height; i++) {
    const upper = rows.before[i]! * paddedWidth;
    const lower = Math.min(rows.before[i]! + 1, geometry.height + 1) * paddedWidth;
    const down = rows.weight[i]!;
    for (let j = 0; j < paddedWidth; j++) rowLevels[j] = padded[upper + j]! * (1 - down) + padded[lower + j]! * down;
    const start = (y + i) * stride + x;
    for (let j = 0; j < width; j++) {
      const left = columns.before[j]!;
      const across = columns.weight[j]!;
      const level = rowLevels[left]! * (1 - across) + rowLevels[Math.min(left + 1, paddedWidth - 1)]! * across;
      const entry = level <= 0 ? 0 : level >= 255 ? 255 : (level + 0.5) | 0;
      pixels[start + j] = isOverlay ? overlayPixel(blend, entry, image[i * width + j]!) : table[entry]!;
    }
  }
}

const STRIPE = packPixel(150, 150, 150);

/**
 * Paints the dimmed image under stripes: rising if saturated, falling if all-negative, both if dead, horizontal if not
 * finite.
 */
export function paintHatching(
  { pixels, stride, x, y, width, height }: PixelRegion,
  image: Uint32Array,
  cause: BlankCause,
): void {
  const period = Math.max(4, Math.min(width, height) >> 3);
  const thickness = Math.max(1, Math.floor(period / 6));
  const isRising = cause === "saturated" || cause === "dead";
  const isFalling = cause === "all-negative" || cause === "dead";
  const isHorizontal = cause === "not-finite";
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const isStripe =
        (isHorizontal && i % period < thickness) ||
        (isRising && (i + j) % period < thickness) ||
        (isFalling && (((j - i) % period) + period) % period < thickness);
      pixels[(y + i) * stride + x + j] = isStripe ? STRIPE : dimPixel(image[i * width + j]!);
    }
  }
}
