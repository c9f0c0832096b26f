// The reel: lines of maps over columns of epochs, on one canvas as large as what is seen of it. What moves
// with the scrubber lies over it: a browser copies a canvas whole for every change of it.

import { batch, useComputed, useSignal, type ReadonlySignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useFrame } from "../parts/frame";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { dark } from "../theme";
import { t, significant } from "../text";
import { arrived, imagePixels, isComing } from "./images";
import { paint, type Geometry, type Look } from "./paint";
import type { MapCell } from "./levels";

/** One line of cells. */
export interface Line {
  key: string;
  label: ComponentChildren;
  describe: string;
  image: string;
  dataset: string;
  geometry: Geometry | null;
  look: Look;
  cell: (column: number) => MapCell | null;
  startsGroup: boolean; // a gap is left above it
}

export interface Columns {
  labels: string[];
  epochs: number[]; // the cursor's epoch lies in the last column that is not after it
}

/** CSS pixels that cells can have without scrolling. */
export interface Room {
  width: number;
  height: number;
}

interface Props {
  lines: ReadonlySignal<Line[]>;
  columns: ReadonlySignal<Columns>;
  size: ReadonlySignal<number>; // CSS pixels of a cell
  cursor: ReadonlySignal<number>; // column
  selected: ReadonlySignal<string>; // the selected line's key
  /** What the pictures depend on besides the lines: a change of it paints all again. */
  version: ReadonlySignal<string>;
  onPick: (column: number, line: Line) => void;
  onRoom: (room: Room) => void;
  label: string;
}

const HEAD = 22;
const GROUP_GAP = 6;
const MARGIN = 2; // below the last line, for the cursor's frame
const LINES_A_TILE = 16;
const TILES_PIXELS = 8_000_000; // 32 MB
export const GUTTER = 116;

/** CSS pixels of that many lines, their head included. */
export const heightOf = (size: number, lines: number, groups: number): number =>
  HEAD + size * lines + GROUP_GAP * Math.max(0, groups - 1) + MARGIN;

const leavesGap = (line: Line, index: number): boolean => line.startsGroup && index > 0;

const px = (length: number): string => `${length}px`;

export function ReelCanvas(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const tip = useSignal<{ x: number; y: number; text: string[] } | null>(null);
  const seen = useSignal({ width: 0, height: 0, most: 0 }); // most: as tall as it may become
  const scroll = useSignal({ left: 0, top: 0 });
  const tiles = useRef(new Tiles());

  const tops = useComputed(() => {
    let y = HEAD;
    return props.lines.value.map((line, index) => {
      if (leavesGap(line, index)) y += GROUP_GAP;
      const top = y;
      y += props.size.value;
      return top;
    });
  });
  const total = useComputed(() => ({
    width: GUTTER + props.columns.value.labels.length * props.size.value,
    height: heightOf(props.size.value, props.lines.value.length, 1 + props.lines.value.filter(leavesGap).length),
  }));

  const measure = () => {
    const element = box.current!;
    const { clientWidth: width, clientHeight: height } = element;
    const most = (parseFloat(getComputedStyle(element).maxHeight) || Infinity) - (element.offsetHeight - height);
    const before = seen.peek();
    if (width === before.width && height === before.height && most === before.most) return;
    batch(() => {
      seen.value = { width, height, most };
      props.onRoom({ width: Math.max(200, width - GUTTER), height: most });
    });
  };
  useLayoutEffect(() => {
    measure(); // the observer would tell it a frame later
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    addEventListener("resize", measure); // it may be shorter than the window has room for
    return () => {
      observer.disconnect();
      removeEventListener("resize", measure);
    };
  }, []);

  const paintSoon = useFrame(() => {
    measure(); // lines that have come since may have made room for themselves
    const context = canvas.current?.getContext("2d", { alpha: true });
    if (context) draw(context);
  });
  const showColumn = useFrame(() => {
    const size = props.size.peek();
    const left = props.cursor.peek() * size;
    const room = seen.peek().width - GUTTER;
    if (room <= 0 || (left >= scroll.peek().left && left + size <= scroll.peek().left + room)) return;
    scrollTo({ left: Math.max(0, left - room / 2) });
  });
  const showLine = useFrame(() => {
    const size = props.size.peek();
    const top = tops.peek()[props.lines.peek().findIndex((line) => line.key === props.selected.peek())];
    const tall = seen.peek().height;
    if (top === undefined || !tall) return;
    const from = scroll.peek().top + HEAD;
    if (top < from) scrollTo({ top: top - HEAD });
    else if (top + size > scroll.peek().top + tall) scrollTo({ top: top + size + GROUP_GAP - tall });
  });
  useSignalLayoutEffect(() => {
    void [props.cursor.value, props.size.value, seen.value.width];
    showColumn();
  });
  useSignalLayoutEffect(() => {
    void [props.selected.value, props.size.value, seen.value.height];
    showLine();
  });
  useSignalLayoutEffect(() => {
    void [props.lines.value, props.columns.value, props.size.value, props.version.value, seen.value, scroll.value,
      arrived.value, tops.value, dark.value];
    paintSoon();
  });

  function scrollTo(place: ScrollToOptions): void {
    const element = box.current!;
    element.scrollTo({ ...place, behavior: "instant" });
    scroll.value = { left: element.scrollLeft, top: element.scrollTop };
  }

  function draw(context: CanvasRenderingContext2D) {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { width, height } = seen.peek();
    const element = canvas.current!;
    if (!width || !height) return;
    if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
    }
    const size = props.size.peek();
    const columns = props.columns.peek();
    const lines = props.lines.peek();
    const { left, top } = scroll.peek();
    const style = getComputedStyle(element);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const first = Math.max(0, Math.floor(left / size));
    const last = Math.min(columns.labels.length - 1, Math.floor((left + width - GUTTER) / size));

    // A gap of a pixel, so that cells are drawn as they were painted, without scaling.
    const cellPixels = Math.max(1, Math.round((size - 1) * ratio));
    const px = (length: number) => Math.round(length * ratio);
    tiles.current.begin(`${props.version.peek()} ${cellPixels} ${size} ${arrived.peek()}`);
    for (let index = 0; index < lines.length; index += LINES_A_TILE) {
      const some = lines.slice(index, index + LINES_A_TILE);
      const offsets = tops.peek().slice(index, index + LINES_A_TILE).map((one, _, all) => px(one - all[0]!));
      const y = px(tops.peek()[index]! - top);
      const hidden = Math.max(0, px(HEAD) - y); // under the head
      const tall = offsets.at(-1)! + cellPixels;
      if (hidden >= tall || y > height * ratio) continue;
      for (let column = first; column <= last; column++) {
        const tile = tiles.current.get(column, index, some, offsets, cellPixels);
        if (!tile) continue;
        const x = px(GUTTER + column * size - left);
        const covered = Math.max(0, px(GUTTER) - x); // by the labels
        if (covered < cellPixels) context.putImageData(tile, x, y, covered, hidden, cellPixels - covered, tall - hidden);
      }
    }
    drawHead(context, style, first, last, columns.labels, width);
  }

  function drawHead(
    context: CanvasRenderingContext2D, style: CSSStyleDeclaration, first: number, last: number, labels: string[], width: number,
  ) {
    const size = props.size.peek();
    const { left } = scroll.peek();
    context.clearRect(0, 0, width, HEAD - 1);
    context.font = `${style.fontSize} ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const widest = Math.max(...labels.slice(-3).map((label) => context.measureText(label).width), 8);
    const every = Math.max(1, Math.ceil((widest + 10) / size));
    context.fillStyle = style.getPropertyValue("--muted");
    for (let column = first; column <= last; column++) {
      const x = GUTTER + column * size - left + size / 2;
      if (column % every === 0 && x >= GUTTER) context.fillText(labels[column]!, Math.min(x, width - widest / 2), HEAD / 2);
    }
  }

  function under(event: PointerEvent): { column: number; line: Line } | null {
    const bounds = canvas.current!.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const y = event.clientY - bounds.top + scroll.peek().top;
    const size = props.size.peek();
    const column = Math.floor((x - GUTTER + scroll.peek().left) / size);
    const row = tops.peek().findIndex((top) => y >= top && y < top + size);
    const line = props.lines.peek()[row];
    if (!line || x < GUTTER || column < 0 || column >= props.columns.peek().labels.length) return null;
    return { column, line };
  }

  function explain(event: PointerEvent) {
    const at = under(event);
    const cell = at && at.line.cell(at.column);
    if (!at || !cell) {
      tip.value = null;
      return;
    }
    const lines = [t("reel.cell", { line: at.line.describe, epoch: props.columns.peek().labels[at.column]! })];
    lines.push(cell.blank === "none" ? t("reel.peak", { peak: significant(cell.peak) }) : t(`blank.${cell.blank}`));
    const bounds = box.current!.getBoundingClientRect();
    tip.value = { x: event.clientX - bounds.left, y: event.clientY - bounds.top, text: lines };
  }

  const picking = useRef(false);
  return (
    <div class="reel-frame">
      <div
        class="reel" ref={box} tabIndex={0} role="region" aria-label={props.label}
        onScroll={(event) => (scroll.value = { left: event.currentTarget.scrollLeft, top: event.currentTarget.scrollTop })}
      >
        <div class="reel-body" style={{ width: px(total.value.width), height: px(total.value.height) }}>
          <canvas
            ref={canvas} class="reel-canvas" aria-hidden="true"
            style={{ width: px(seen.value.width), height: px(seen.value.height) }}
            onPointerDown={(event) => {
              const at = under(event);
              if (!at) return;
              picking.current = event.pointerType === "mouse";
              if (picking.current) event.currentTarget.setPointerCapture(event.pointerId);
              props.onPick(at.column, at.line);
            }}
            onPointerMove={(event) => {
              explain(event);
              const at = picking.current ? under(event) : null;
              if (at) props.onPick(at.column, at.line);
            }}
            onPointerUp={() => (picking.current = false)}
            onPointerLeave={() => (tip.value = null)}
          />
          <Cursor {...props} tops={tops} />
          <ul class="reel-labels" style={{ width: px(GUTTER), height: px(total.value.height) }}>
            {props.lines.value.map((line, index) => (
              <li key={line.key} style={{ top: px(tops.value[index]!), height: px(props.size.value) }}>
                <button
                  type="button" class="reel-label" aria-pressed={line.key === props.selected.value}
                  title={line.describe} onClick={() => props.onPick(props.cursor.peek(), line)}
                >
                  {line.label}
                </button>
              </li>
            ))}
          </ul>
        </div>
      </div>
      {tip.value && (
        <div class="tip" role="tooltip" style={{ left: px(tip.value.x + 14), top: px(tip.value.y + 14) }}>
          {tip.value.text.map((text) => <div>{text}</div>)}
        </div>
      )}
    </div>
  );
}

/** The scrubbed epoch's column, with its number, and the selected cell in it. */
function Cursor({ lines, columns, size, cursor, selected, tops }: Props & { tops: ReadonlySignal<number[]> }) {
  const label = columns.value.labels[cursor.value];
  if (label === undefined) return null;
  const row = lines.value.findIndex((line) => line.key === selected.value);
  const last = cursor.value === columns.value.labels.length - 1;
  return (
    <div
      class="reel-cursor" aria-hidden="true"
      style={{ left: px(GUTTER), width: px(size.value), transform: `translateX(${px(cursor.value * size.value)})` }}
    >
      <div class={last ? "reel-epoch last" : "reel-epoch"} style={{ height: px(HEAD) }}><span>{label}</span></div>
      {row >= 0 && <div class="reel-cell" style={{ top: px(tops.value[row]!), height: px(size.value) }} />}
    </div>
  );
}

/** Painted cells, kept by column and by chunk of lines until what they depend on changes. */
class Tiles {
  private kept = new Map<string, ImageData>();
  private pixels = 0;
  private state = "";

  begin(state: string): void {
    if (state !== this.state || this.pixels > TILES_PIXELS) {
      this.kept.clear();
      this.pixels = 0;
      this.state = state;
    }
  }

  /**
   * The tile: each line's cell at its offset, `size` pixels square, nothing between them; or null
   * where no cell of it is here yet, or an image that they lie on is still coming.
   */
  get(column: number, chunk: number, lines: Line[], offsets: number[], size: number): ImageData | null {
    const key = `${column} ${chunk}`;
    const kept = this.kept.get(key);
    if (kept) return kept;
    const cells = lines.map((line) => line.cell(column));
    if (!cells.some(Boolean) || lines.some((line, index) => cells[index] && isComing(line.dataset, line.image))) return null;
    const tile = new ImageData(size, offsets.at(-1)! + size);
    const out = new Uint32Array(tile.data.buffer);
    lines.forEach((line, index) => {
      const cell = cells[index];
      if (!cell || !line.geometry) return;
      const image = imagePixels(line.dataset, line.image, size);
      paint(out, size, 0, offsets[index]!, size, cell, line.geometry, image, line.look);
    });
    this.kept.set(key, tile);
    this.pixels += tile.width * tile.height;
    return tile;
  }
}
