// Mean maps as pixels: the levels' colors over the mean image, as `mean_map_rgb` of the service.

import { colorTable } from "../maps/colors";
import { blendTable, overlayPixel, packPixel } from "../maps/pixels";
import type { Matrix } from "./types";

const OPACITY = 0.9;
const MAP_COLORMAP = "viridis";
const TINT_COLORMAP = "cividis";

const decode = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

const highest = (levels: Uint8Array): number => levels.reduce((top, level) => Math.max(top, level), 0);

/** The highest level of all cells, at which the colors end: means are far below the peaks of single maps. */
export const topLevel = ({ rows }: Matrix): number =>
  Math.max(1, ...rows.flatMap(({ cells }) => cells.map(({ levels }) => (levels ? highest(decode(levels)) : 0))));

export function paintMeanMap(canvas: HTMLCanvasElement, levels: string, { side, image }: Matrix, top: number): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const data = context.createImageData(side, side);
  const pixels = new Uint32Array(data.data.buffer);
  const blend = blendTable(colorTable(MAP_COLORMAP), OPACITY);
  const colors = decode(image);
  decode(levels).forEach((level, index) => {
    const pixel = packPixel(colors[3 * index]!, colors[3 * index + 1]!, colors[3 * index + 2]!);
    pixels[index] = overlayPixel(blend, Math.round((level * 255) / top), pixel);
  });
  context.putImageData(data, 0, 0);
}

/** The CSS color of a tint in 0..1. */
export function tintColor(tint: number): string {
  const pixel = colorTable(TINT_COLORMAP)[Math.round(Math.min(1, Math.max(0, tint)) * 255)]!;
  return `rgb(${pixel & 255} ${(pixel >>> 8) & 255} ${(pixel >>> 16) & 255})`;
}
