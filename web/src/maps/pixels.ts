// Pixels as ImageData holds them: 32-bit little-endian RGBA.

export const BLACK = 0xff000000;

export const packPixel = (r: number, g: number, b: number): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** The mean of two pixels, all channels at once. */
export const meanPixel = (a: number, b: number): number =>
  (((a & 0xfefefefe) >>> 1) + ((b & 0xfefefefe) >>> 1)) | 0xff000000;

export const dimPixel = (pixel: number): number => (((pixel & 0xfefefefe) >>> 1) + 0x00181818) | 0xff000000;

/** 256 pixels, from the lowest value to the highest. */
export type ColorTable = Uint32Array;

/** A color table from 256 colors RRGGBB. */
export function parseColorTable(colors: string): ColorTable {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const rgb = parseInt(colors.slice(6 * i, 6 * i + 6), 16);
    return packPixel(rgb >> 16, (rgb >> 8) & 255, rgb & 255);
  });
}
