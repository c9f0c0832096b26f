import { imagePixels, isLoading } from "./images";
import type { MapCell } from "./levels";
import { type CellStyle, type Geometry, paintCell } from "./paint";

/** What a line of cells shows. */
export interface LineMaps {
  image: string;
  dataset: string;
  geometry: Geometry | null;
  style: CellStyle;
  cell: (epoch: number) => MapCell | null;
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
   * The tile of a block of lines: each line's cell at its offset, `size` pixels square, with nothing between them. Null
   * if none of its cells is loaded, or an input image is still loading.
   */
  get(epoch: number, block: number, lines: LineMaps[], offsets: number[], size: number): ImageData | null {
    const key = `${epoch} ${block}`;
    const cached = this.tiles.get(key);
    if (cached) return cached;
    const cells = lines.map((line) => line.cell(epoch));
    const lacksImage = lines.some((line, index) => cells[index] && isLoading(line.dataset, line.image));
    if (lacksImage || !cells.some(Boolean)) return null;
    const tile = paintTile(lines, cells, offsets, size);
    this.tiles.set(key, tile);
    this.pixels += tile.width * tile.height;
    return tile;
  }
}

function paintTile(lines: LineMaps[], cells: (MapCell | null)[], offsets: number[], size: number): ImageData {
  const tile = new ImageData(size, offsets.at(-1)! + size);
  const pixels = new Uint32Array(tile.data.buffer);
  lines.forEach((line, index) => {
    const cell = cells[index];
    if (!cell || !line.geometry) return;
    const region = { pixels, stride: size, x: 0, y: offsets[index]!, size };
    paintCell(region, cell, line.geometry, imagePixels(line.dataset, line.image, size), line.style);
  });
  return tile;
}
