import type { AtlasRow } from "../api/types";
import type { MapCell } from "./levels";
import type { CellStyle, Geometry } from "./paint";
import { hasSameMethod, type Reel, type RowKind, rowKey } from "./reel";

/** A map and how it is drawn. */
export interface StyledMap {
  cell: MapCell;
  geometry: Geometry;
  style: CellStyle;
  isOutdated: boolean; // of another method or layer, whose maps are being replaced
}

/**
 * A function that returns a row's map at an epoch: the reel's own, else its predecessor's, else null. Each is drawn by
 * the style of its reel.
 */
export function styledMaps(
  reel: Reel,
  key: string,
  styleOf: (reel: Reel) => CellStyle,
): (epoch: number) => StyledMap | null {
  const sources = [reel, reel.predecessor]
    .filter((source) => source?.has(key))
    .map((source) => ({ source: source!, style: styleOf(source!) }));
  return (epoch) => {
    for (const { source, style } of sources) {
      const cell = source.cell(key, epoch);
      const isOutdated = !hasSameMethod(source.selection, reel.selection);
      if (cell) return { cell, geometry: source.geometry!, style, isOutdated };
    }
    return null;
  };
}

/** The rows of several reels: each once, in the order of `images` and classes. */
export function mergeRows(
  kind: RowKind,
  lists: readonly (readonly AtlasRow[])[],
  images: readonly string[],
): AtlasRow[] {
  const rows = new Map(lists.flat().map((row) => [rowKey(kind, row), row]));
  return [...rows.values()].sort(
    (a, b) => images.indexOf(a.image) - images.indexOf(b.image) || a.class_index - b.class_index,
  );
}
