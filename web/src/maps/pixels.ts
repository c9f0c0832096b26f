// Pixels as ImageData holds them: 32-bit little-endian RGBA.

export const BLACK = 0xff000000;

export const packPixel = (r: number, g: number, b: number): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

export const dimPixel = (pixel: number): number => (((pixel & 0xfefefefe) >>> 1) + 0x00181818) | 0xff000000;

const FADED_ALPHA = 0x50000000;

/** The pixel as it is drawn while another one is awaited: the background shows through. */
export const fadePixel = (pixel: number): number => (pixel & 0x00ffffff) | FADED_ALPHA;

/** 256 pixels, from the lowest value to the highest. */
export type ColorTable = Uint32Array;

/** By level, in 256ths: the weighted colors with 1/2 added, red and blue apart from green, and the image's weights. */
export interface BlendTable {
  redBlue: Uint32Array;
  green: Uint32Array;
  imageWeights: Uint32Array;
}

let lastBlend: { table: ColorTable; opacity: number; blend: BlendTable } | null = null;

/**
 * The table of an overlay. A pixel is `a color(u) + (1 - a) image` with `u = level / 255` and `a = opacity sqrt(u)`;
 * `a` is rounded to 256ths and the pixel to integers, halves up, as by `overlay_rgb` of the service.
 */
export function blendTable(table: ColorTable, opacity: number): BlendTable {
  if (lastBlend?.table === table && lastBlend.opacity === opacity) return lastBlend.blend;
  const weights = Uint32Array.from({ length: 256 }, (_, level) =>
    Math.floor(opacity * Math.sqrt(level / 255) * 256 + 0.5),
  );
  const blend = {
    redBlue: weights.map((weight, level) => (table[level]! & 0x00ff00ff) * weight + 0x00800080),
    green: weights.map((weight, level) => ((table[level]! >>> 8) & 0xff) * weight + 0x80),
    imageWeights: weights.map((weight) => 256 - weight),
  };
  lastBlend = { table, opacity, blend };
  return blend;
}

/** The color of a level over a pixel of the image. Two channels share a multiplication, as neither overflows 16 bits. */
export function overlayPixel({ redBlue, green, imageWeights }: BlendTable, level: number, image: number): number {
  const weight = imageWeights[level]!;
  const mixedRedBlue = (redBlue[level]! + Math.imul(image & 0x00ff00ff, weight)) >>> 8;
  const mixedGreen = green[level]! + Math.imul((image >>> 8) & 0xff, weight);
  return ((mixedRedBlue & 0x00ff00ff) | (mixedGreen & 0xff00) | 0xff000000) >>> 0;
}

/** A color table from 256 colors RRGGBB. */
export function parseColorTable(colors: string): ColorTable {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const rgb = parseInt(colors.slice(6 * i, 6 * i + 6), 16);
    return packPixel(rgb >> 16, (rgb >> 8) & 255, rgb & 255);
  });
}
