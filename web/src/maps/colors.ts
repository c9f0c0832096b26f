import { signal } from "@preact/signals";
import { fetchColormaps } from "../api/catalogue";
import type { Colormap } from "../api/types";
import { type ColorTable, parseColorTable } from "./pixels";
import type { DrawStyle } from "./scale";

const SIGNED_COLORMAP = "RdBu_r";

/** The catalogue's colormaps; empty until they are loaded. */
export const colormaps = signal<Colormap[]>([]);

const tables = new Map<string, ColorTable>();

export async function loadColormaps(): Promise<void> {
  colormaps.value = await fetchColormaps();
}

/** The table of a colormap, or of the first one if the name is unknown. Black until the colormaps are loaded. */
export function colorTable(name: string): ColorTable {
  const cached = tables.get(name);
  if (cached) return cached;
  const colormap = colormaps.value.find((candidate) => candidate.name === name) ?? colormaps.value[0];
  if (!colormap) return new Uint32Array(256); // not cached
  const table = parseColorTable(colormap.colors);
  tables.set(name, table);
  return table;
}

/** The table of a style, which uses the view's colormap unless it draws signed maps. */
export const styleTable = (style: DrawStyle, colormap: string): ColorTable =>
  colorTable(style === "signed" ? SIGNED_COLORMAP : colormap);
