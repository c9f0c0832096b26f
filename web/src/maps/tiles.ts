import { imagePixels, isLoading } from "./images";
import { containedRegion, type PixelRegion, paintCell } from "./paint";
import { fadePixel } from "./pixels";
import type { StyledMap } from "./rowMaps";
import { paintBar } from "./strength";

/** What a line of cells shows. */
export interface LineMaps {
  image: string;
  runId: number; // whose network sees the image
  map: (epoch: number) => StyledMap | null; // null if it is not loaded
}

/** Sizes of a cell with its strength bar, in pixels of the tile. */
export interface CellSize {
  side: number;
  barTop: number; // from the top of the cell
  barHeight: number;
}

const MAX_PIXELS = 8_000_000; // 32 MB

/** Painted cells, cached by epoch and block of lines until their version changes. */
export class TileCache {
  private tiles = new Map<string, ImageData>();
  private pixels = 0;
  private version = "";

  /** Drops all tiles of another version. */
  setVersion(version: string): void {
    if (version === this.version && this.pixels <= MAX_PIXELS) return;
    this.tiles.clear();
    this.pixels = 0;
    this.version = version;
  }

  /**
   * The tile of a block of lines: each line's cell at its offset, its strength bar below, and nothing between them. Null
   * if none of its cells is loaded, or an input image is still loading.
   */
  get(epoch: number, block: number, lines: LineMaps[], offsets: number[], size: CellSize): ImageData | null {
    const key = `${epoch} ${block}`;
    const cached = this.tiles.get(key);
    if (cached) return cached;
    const maps = lines.map((line) => line.map(epoch));
    const lacksImage = lines.some((line, index) => maps[index] && isLoading(line.runId, line.image));
    if (lacksImage || !maps.some(Boolean)) return null;
    const tile = paintTile(lines, maps, offsets, size);
    this.tiles.set(key, tile);
    this.pixels += tile.width * tile.height;
    return tile;
  }
}

function paintTile(
  lines: LineMaps[],
  maps: (StyledMap | null)[],
  offsets: number[],
  { side, barTop, barHeight }: CellSize,
): ImageData {
  const tile = new ImageData(side, offsets.at(-1)! + barTop + barHeight);
  const pixels = new Uint32Array(tile.data.buffer);
  lines.forEach((line, index) => {
    const map = maps[index];
    if (!map) return;
    const top = offsets[index]!;
    const region = containedRegion({ pixels, stride: side, x: 0, y: top, side }, map.geometry);
    const image = imagePixels(line.runId, line.image, region.width, region.height);
    paintCell(region, map.cell, map.geometry, image, map.style);
    if (map.isOutdated) fade(region);
    paintBar(pixels, side, top + barTop, barHeight, map.cell);
  });
  return tile;
}

function fade({ pixels, stride, x, y, width, height }: PixelRegion): void {
  for (let i = 0; i < height; i++) {
    const start = (y + i) * stride + x;
    for (let j = start; j < start + width; j++) pixels[j] = fadePixel(pixels[j]!);
  }
}
