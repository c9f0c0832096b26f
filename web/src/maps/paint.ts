// Draws a map as the service does: bilinear between the centres of its positions' receptive fields,
// faded to nothing beyond the outermost, over the image in equal shares; hatched where it is blank.

import type { BlankCause } from "../api/types";
import { pixel, type Table } from "./colours";
import { valuesOf, type MapCell } from "./levels";
import { ownScale, type Scale, type Style } from "./scale";

export interface Geometry {
  width: number; // positions of a map
  height: number;
  imageWidth: number; // pixels of the image
  imageHeight: number;
  first: number; // the pixel on which position 0 is centered
  step: number; // pixels from one position to the next
}

export interface Look {
  style: Style;
  table: Table;
  scale: Scale | null; // null: each map its own
}

interface Axis {
  low: Int32Array; // the padded position before each sample
  share: Float32Array; // the share of the one after it
}

const axes = new Map<string, Axis>();

function axis(geometry: Geometry, count: number, pixels: number, size: number): Axis {
  const key = `${geometry.first} ${geometry.step} ${count} ${pixels} ${size}`;
  const kept = axes.get(key);
  if (kept) return kept;
  const low = new Int32Array(size);
  const share = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const pixelPlace = ((i + 0.5) * pixels) / size - 0.5;
    const at = Math.min(Math.max((pixelPlace - geometry.first) / geometry.step, -1), count) + 1;
    low[i] = Math.min(Math.floor(at), count);
    share[i] = at - low[i]!;
  }
  const made = { low, share };
  axes.set(key, made);
  return made;
}

const values = new Float32Array(256);
let padded = new Float32Array(0);
let line = new Float32Array(0);

/**
 * Paint a map into `out` (pixels, `stride` a row) at x, y, `size` pixels square.
 *
 * `image` is the input image in `size` x `size` pixels.
 */
export function paint(
  out: Uint32Array, stride: number, x: number, y: number, size: number,
  cell: MapCell, geometry: Geometry, image: Uint32Array, look: Look,
): void {
  // The signed style shows blank maps too, but no color stands for what is no number.
  if (cell.blank === "not-finite" || (cell.blank !== "none" && look.style !== "signed")) {
    hatch(out, stride, x, y, size, image, cell.blank);
    return;
  }
  const scale = look.scale ?? ownScale(cell);
  const signed = look.style === "signed";
  const limit = Math.max(scale.peak, -scale.minimum);
  const low = signed ? -limit : Math.max(0, scale.minimum);
  const extent = signed ? 2 * limit : scale.peak - low;
  // As levels of the colour table, so that what follows only interpolates.
  const factor = extent > 0 ? 255 / extent : 0;
  valuesOf(cell.minimum, cell.peak, values);
  for (let level = 0; level < 256; level++) {
    const value = values[level]!;
    values[level] = ((signed ? value : Math.max(0, value)) - low) * factor;
  }
  const outside = signed ? 127.5 : -low * factor;
  fill(cell, geometry, outside);

  const across = axis(geometry, geometry.width, geometry.imageWidth, size);
  const down = axis(geometry, geometry.height, geometry.imageHeight, size);
  const wide = geometry.width + 2;
  const overlay = look.style === "overlay";
  for (let i = 0; i < size; i++) {
    const above = down.low[i]! * wide;
    const below = Math.min(down.low[i]! + 1, geometry.height + 1) * wide;
    const part = down.share[i]!;
    for (let j = 0; j < wide; j++) line[j] = padded[above + j]! * (1 - part) + padded[below + j]! * part;
    const start = (y + i) * stride + x;
    for (let j = 0; j < size; j++) {
      const left = across.low[j]!;
      const share = across.share[j]!;
      const level = line[left]! * (1 - share) + line[Math.min(left + 1, wide - 1)]! * share;
      const colour = look.table[level <= 0 ? 0 : level >= 255 ? 255 : (level + 0.5) | 0]!;
      out[start + j] = overlay ? mixed(colour, image[i * size + j]!) : colour;
    }
  }
}

/** The mean of two pixels, channel by channel, without taking them apart. */
function mixed(a: number, b: number): number {
  return (((a & 0xfefefefe) >>> 1) + ((b & 0xfefefefe) >>> 1)) | 0xff000000;
}

function fill(cell: MapCell, { width, height }: Geometry, outside: number): void {
  const wide = width + 2;
  if (padded.length < wide * (height + 2)) padded = new Float32Array(wide * (height + 2));
  if (line.length < wide) line = new Float32Array(wide);
  padded.fill(outside, 0, wide * (height + 2));
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) padded[(i + 1) * wide + j + 1] = values[cell.levels[i * width + j]!]!;
  }
}

const STRIPE = pixel(150, 150, 150);

/** The image dimmed under stripes: rising if saturated, falling if all-negative, both if dead, level if not finite. */
export function hatch(
  out: Uint32Array, stride: number, x: number, y: number, size: number, image: Uint32Array, cause: BlankCause,
): void {
  const gap = Math.max(4, size >> 3);
  const thick = Math.max(1, Math.floor(gap / 6));
  const rising = cause === "saturated" || cause === "dead";
  const falling = cause === "all-negative" || cause === "dead";
  const level = cause === "not-finite";
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const striped = (level && i % gap < thick) || (rising && (i + j) % gap < thick) || (falling && (((j - i) % gap) + gap) % gap < thick);
      out[(y + i) * stride + x + j] = striped ? STRIPE : dimmed(image[i * size + j]!);
    }
  }
}

const dimmed = (colour: number): number => (((colour & 0xfefefefe) >>> 1) + 0x00181818) | 0xff000000;
