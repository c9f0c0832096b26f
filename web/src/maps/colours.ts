import { signal } from "@preact/signals";
import { colormaps } from "../api/catalogue";
import type { Colormap } from "../api/types";

/** 256 opaque pixels as ImageData has them in memory (little-endian RGBA). */
export type Table = Uint32Array;

/** As the catalogue has them; none until they are here. */
export const knownColormaps = signal<Colormap[]>([]);

const tables = new Map<string, Table>();

export async function loadTables(): Promise<void> {
  knownColormaps.value = await colormaps();
}

/** The table of that name, or the first; black until they are here. */
export function table(name: string): Table {
  const kept = tables.get(name);
  if (kept) return kept;
  const known = knownColormaps.value; // who asks too early asks again when they come
  const colormap = known.find((one) => one.name === name) ?? known[0];
  if (!colormap) return new Uint32Array(256);
  const made = parse(colormap.colors);
  tables.set(name, made);
  return made;
}

function parse(colours: string): Table {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const rgb = parseInt(colours.slice(6 * i, 6 * i + 6), 16);
    return pixel(rgb >> 16, (rgb >> 8) & 255, rgb & 255);
  });
}

export const pixel = (r: number, g: number, b: number): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
