import { colormaps } from "../api/catalogue";

/** 256 opaque pixels as ImageData has them in memory (little-endian RGBA). */
export type Table = Uint32Array;

const tables = new Map<string, Table>();

export async function loadTables(): Promise<void> {
  for (const { name, colours } of await colormaps()) {
    if (!tables.has(name)) tables.set(name, parse(colours));
  }
}

export function table(name: string): Table {
  return tables.get(name) ?? tables.values().next().value ?? new Uint32Array(256);
}

function parse(colours: string): Table {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const rgb = parseInt(colours.slice(6 * i, 6 * i + 6), 16);
    return pixel(rgb >> 16, (rgb >> 8) & 255, rgb & 255);
  });
}

export const pixel = (r: number, g: number, b: number): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
