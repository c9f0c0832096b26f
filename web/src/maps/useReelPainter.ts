import type { ReadonlySignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useRef } from "preact/hooks";
import { useAnimationFrame } from "../hooks/useAnimationFrame";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { isDark } from "../theme";
import { loadedImages } from "./images";
import { HEADER_HEIGHT, LABEL_WIDTH } from "./layout";
import type { ReelCanvasProps } from "./ReelCanvas";
import { TileCache } from "./tiles";
import type { ReelScroll } from "./useReelScroll";

const LINES_PER_TILE = 16;
const MAX_PIXEL_RATIO = 2;
const MIN_LABEL_WIDTH = 8;
const LABEL_GAP = 10;

/** Paints the visible cells and the columns' labels onto the canvas in the frame after a change. */
export function useReelPainter(
  canvas: RefObject<HTMLCanvasElement | null>,
  props: ReelCanvasProps,
  tops: ReadonlySignal<number[]>,
  { visible, offset, measure }: ReelScroll,
): void {
  const tiles = useRef(new TileCache());

  const paint = useAnimationFrame(() => {
    measure(); // new lines may have changed the height of the box
    const element = canvas.current!;
    const { width, height } = visible.peek();
    if (!width || !height) return;
    const ratio = Math.min(devicePixelRatio || 1, MAX_PIXEL_RATIO);
    resizeCanvas(element, Math.round(width * ratio), Math.round(height * ratio));
    const context = element.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const columns = visibleColumns(width);
    paintTiles(context, columns, ratio);
    paintLabels(context, columns);
  });

  useSignalLayoutEffect(() => {
    void [props.lines.value, props.columns.value, props.cellSize.value, props.version.value];
    void [visible.value, offset.value, loadedImages.value, tops.value, isDark.value];
    paint();
  });

  function visibleColumns(width: number): [first: number, last: number] {
    const { left } = offset.peek();
    const cellSize = props.cellSize.peek();
    const last = Math.floor((left + width - LABEL_WIDTH) / cellSize);
    return [Math.max(0, Math.floor(left / cellSize)), Math.min(props.columns.peek().labels.length - 1, last)];
  }

  function paintTiles(context: CanvasRenderingContext2D, [first, last]: [number, number], ratio: number): void {
    const toDevice = (length: number) => Math.round(length * ratio);
    const { left, top } = offset.peek();
    const cellSize = props.cellSize.peek();
    // One pixel less than the cell, so that cells have a gap and are drawn without scaling.
    const size = Math.max(1, Math.round((cellSize - 1) * ratio));
    tiles.current.setVersion(`${props.version.peek()} ${size} ${cellSize} ${loadedImages.peek()}`);
    for (let block = 0; block < props.lines.peek().length; block += LINES_PER_TILE) {
      const lines = props.lines.peek().slice(block, block + LINES_PER_TILE);
      const blockTops = tops.peek().slice(block, block + LINES_PER_TILE);
      const offsets = blockTops.map((lineTop) => toDevice(lineTop - blockTops[0]!));
      const y = toDevice(blockTops[0]! - top);
      const hiddenRows = Math.max(0, toDevice(HEADER_HEIGHT) - y); // below the header
      const height = offsets.at(-1)! + size;
      if (hiddenRows >= height || y > visible.peek().height * ratio) continue;
      for (let column = first; column <= last; column++) {
        const tile = tiles.current.get(column, block, lines, offsets, size);
        if (!tile) continue;
        const x = toDevice(LABEL_WIDTH + column * cellSize - left);
        const hidden = Math.max(0, toDevice(LABEL_WIDTH) - x); // below the lines' labels
        if (hidden < size) context.putImageData(tile, x, y, hidden, hiddenRows, size - hidden, height - hiddenRows);
      }
    }
  }

  function paintLabels(context: CanvasRenderingContext2D, [first, last]: [number, number]): void {
    const { labels } = props.columns.peek();
    const { width } = visible.peek();
    const cellSize = props.cellSize.peek();
    const style = getComputedStyle(context.canvas);
    context.clearRect(0, 0, width, HEADER_HEIGHT - 1);
    context.font = `${style.fontSize} ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = style.getPropertyValue("--muted");
    const widths = labels.slice(-3).map((label) => context.measureText(label).width);
    const widest = Math.max(...widths, MIN_LABEL_WIDTH);
    const step = Math.max(1, Math.ceil((widest + LABEL_GAP) / cellSize));
    for (let column = first; column <= last; column++) {
      const x = LABEL_WIDTH + (column + 0.5) * cellSize - offset.peek().left;
      if (column % step || x < LABEL_WIDTH) continue;
      context.fillText(labels[column]!, Math.min(x, width - widest / 2), HEADER_HEIGHT / 2);
    }
  }
}

/** Sets the size only if it changes, since setting it clears the canvas. */
function resizeCanvas(element: HTMLCanvasElement, width: number, height: number): void {
  if (element.width === width && element.height === height) return;
  element.width = width;
  element.height = height;
}
