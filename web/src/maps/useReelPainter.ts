import type { ReadonlySignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useRef } from "preact/hooks";
import { useAnimationFrame } from "../hooks/useAnimationFrame";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { isDark } from "../theme";
import { loadedImages } from "./images";
import { BAR_HEIGHT, HEADER_HEIGHT, LABEL_WIDTH } from "./layout";
import type { ReelCanvasProps } from "./ReelCanvas";
import { TileCache } from "./tiles";
import type { ReelScroll } from "./useReelScroll";

const LINES_PER_TILE = 16;
const MAX_PIXEL_RATIO = 2;
const MIN_LABEL_WIDTH = 8;
const LABEL_GAP = 10;

type Canvas = RefObject<HTMLCanvasElement | null>;

/** Paints the visible cells and the columns' labels onto the canvas in the frame after a change. */
export function useReelPainter(
  canvas: Canvas,
  props: ReelCanvasProps,
  tops: ReadonlySignal<number[]>,
  scroll: ReelScroll,
): void {
  const { visible, offset, measure } = scroll;
  const paintColumn = useTilePainter(props, tops, scroll);

  const paint = useAnimationFrame(() => {
    measure(); // new lines may have changed the height of the box
    const { width, height } = visible.peek();
    const context = clearedContext(canvas, width, height);
    if (!context) return;
    const [first, last] = visibleColumns(width);
    const { epochs } = props.columns.peek();
    for (let column = first; column <= last; column++) {
      const x = LABEL_WIDTH + column * props.cellSize.peek() - offset.peek().left;
      paintColumn(context, epochs[column]!, x, LABEL_WIDTH);
    }
    paintLabels(context, first, last);
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
    return [Math.max(0, Math.floor(left / cellSize)), Math.min(props.columns.peek().epochs.length - 1, last)];
  }

  function paintLabels(context: CanvasRenderingContext2D, first: number, last: number): void {
    const { epochs, label } = props.columns.peek();
    const cellSize = props.cellSize.peek();
    const style = getComputedStyle(context.canvas);
    context.clearRect(0, 0, visible.peek().width, HEADER_HEIGHT - 1);
    context.font = `${style.fontSize} ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = style.getPropertyValue("--muted");
    const widths = epochs.slice(-3).map((epoch) => context.measureText(label(epoch)).width);
    const widest = Math.max(...widths, MIN_LABEL_WIDTH);
    const step = Math.max(1, Math.ceil((widest + LABEL_GAP) / cellSize));
    for (let column = first; column <= last; column++) {
      const x = LABEL_WIDTH + (column + 0.5) * cellSize - offset.peek().left;
      if (column % step === 0 && x >= LABEL_WIDTH) context.fillText(label(epochs[column]!), x, HEADER_HEIGHT / 2);
    }
  }
}

/** Paints the visible cells of the selected epoch onto a canvas as wide as a column. */
export function useColumnPainter(
  canvas: Canvas,
  props: ReelCanvasProps,
  tops: ReadonlySignal<number[]>,
  scroll: ReelScroll,
): void {
  const paintColumn = useTilePainter(props, tops, scroll);
  const paint = useAnimationFrame(() => {
    const context = clearedContext(canvas, props.cellSize.peek(), scroll.visible.peek().height);
    if (context) paintColumn(context, props.epoch.peek(), 0, 0);
  });
  useSignalLayoutEffect(() => {
    void [props.lines.value, props.epoch.value, props.cellSize.value, props.version.value];
    void [scroll.visible.value, scroll.offset.value.top, loadedImages.value, tops.value, isDark.value];
    paint();
  });
}

/**
 * A function that paints the visible cells of an epoch at `x` of a canvas, apart from what would lie left of `minimumX`
 * or in the header. Lengths are CSS pixels.
 */
function useTilePainter(props: ReelCanvasProps, tops: ReadonlySignal<number[]>, { visible, offset }: ReelScroll) {
  const tiles = useRef(new TileCache());
  return (context: CanvasRenderingContext2D, epoch: number, x: number, minimumX: number): void => {
    const ratio = pixelRatio();
    const toDevice = (length: number) => Math.round(length * ratio);
    const { top } = offset.peek();
    const cellSize = props.cellSize.peek();
    // One pixel less than the cell, so that cells have a gap and are drawn without scaling.
    const side = Math.max(1, toDevice(cellSize - 1));
    const size = { side, barTop: toDevice(cellSize), barHeight: toDevice(BAR_HEIGHT) };
    const hiddenColumns = Math.max(0, toDevice(minimumX) - toDevice(x));
    if (hiddenColumns >= side) return;
    tiles.current.setVersion(`${props.version.peek()} ${side} ${cellSize} ${loadedImages.peek()}`);
    for (let block = 0; block < props.lines.peek().length; block += LINES_PER_TILE) {
      const lines = props.lines.peek().slice(block, block + LINES_PER_TILE);
      const blockTops = tops.peek().slice(block, block + LINES_PER_TILE);
      const offsets = blockTops.map((lineTop) => toDevice(lineTop - blockTops[0]!));
      const y = toDevice(blockTops[0]! - top);
      const hiddenRows = Math.max(0, toDevice(HEADER_HEIGHT) - y);
      const height = offsets.at(-1)! + size.barTop + size.barHeight;
      if (hiddenRows >= height || y > visible.peek().height * ratio) continue;
      const tile = tiles.current.get(epoch, block, lines, offsets, size);
      if (!tile) continue;
      const [width, rows] = [side - hiddenColumns, height - hiddenRows];
      context.putImageData(tile, toDevice(x), y, hiddenColumns, hiddenRows, width, rows);
    }
  };
}

const pixelRatio = (): number => Math.min(devicePixelRatio || 1, MAX_PIXEL_RATIO);

/** The canvas's cleared context in CSS pixels, of the given size; null if there is nothing to paint on. */
function clearedContext({ current }: Canvas, width: number, height: number): CanvasRenderingContext2D | null {
  if (!current || !width || !height) return null;
  const ratio = pixelRatio();
  resizeCanvas(current, Math.round(width * ratio), Math.round(height * ratio));
  const context = current.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Sets the size only if it changes, since setting it clears the canvas. */
function resizeCanvas(element: HTMLCanvasElement, width: number, height: number): void {
  if (element.width === width && element.height === height) return;
  element.width = width;
  element.height = height;
}
