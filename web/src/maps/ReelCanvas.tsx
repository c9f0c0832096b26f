// The reel: lines of maps over columns of epochs, on a canvas as large as its visible part. What moves with the
// scrubber are elements above it, since a browser copies a whole canvas for every change of it.

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { HEADER_HEIGHT, LABEL_WIDTH, lineTops, reelHeight, type Viewport } from "./layout";
import { ReelTooltip, useReelPointer } from "./ReelPointer";
import type { LineMaps } from "./tiles";
import { useReelPainter } from "./useReelPainter";
import { useReelScroll } from "./useReelScroll";

/** One line of cells. */
export interface Line extends LineMaps {
  key: string;
  label: ComponentChildren;
  description: string;
  startsGroup: boolean; // has a gap above it
}

export interface Columns {
  labels: string[];
  epochs: number[];
}

export interface ReelCanvasProps {
  lines: ReadonlySignal<Line[]>;
  columns: ReadonlySignal<Columns>;
  cellSize: ReadonlySignal<number>; // CSS pixels
  cursor: ReadonlySignal<number>; // column
  selectedKey: ReadonlySignal<string>; // of the selected line
  /** Changes with everything that the pictures depend on besides the lines; all cells are then painted again. */
  version: ReadonlySignal<string>;
  onSelect: (column: number, line: Line) => void;
  onResize: (viewport: Viewport) => void;
  label: string;
}

const px = (length: number): string => `${length}px`;

export function ReelCanvas(props: ReelCanvasProps) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const tops = useComputed(() =>
    lineTops(
      props.lines.value.map((line) => line.startsGroup),
      props.cellSize.value,
    ),
  );
  const extent = useComputed(() => {
    const groups = props.lines.value.filter((line, index) => line.startsGroup && index > 0).length + 1;
    return {
      width: LABEL_WIDTH + props.columns.value.labels.length * props.cellSize.value,
      height: reelHeight(props.cellSize.value, props.lines.value.length, groups),
    };
  });
  const scroll = useReelScroll(box, props, tops);
  useReelPainter(canvas, props, tops, scroll);
  const pointer = useReelPointer(canvas, props, tops, scroll.offset);
  return (
    <div class="reel-frame">
      <div
        class="reel"
        ref={box}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
        tabIndex={0}
        role="region"
        aria-label={props.label}
        onScroll={scroll.readOffset}
      >
        <div class="reel-body" style={{ width: px(extent.value.width), height: px(extent.value.height) }}>
          {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a canvas with pointer handlers is not focusable */}
          <canvas
            ref={canvas}
            class="reel-canvas"
            aria-hidden="true"
            style={{ width: px(scroll.visible.value.width), height: px(scroll.visible.value.height) }}
            {...pointer.handlers}
          />
          <Cursor {...props} tops={tops} />
          <LineLabels {...props} tops={tops} height={extent.value.height} />
        </div>
      </div>
      <ReelTooltip tooltip={pointer.tooltip} />
    </div>
  );
}

interface WithTops extends ReelCanvasProps {
  tops: ReadonlySignal<number[]>;
}

/** The buttons before the lines. */
function LineLabels({ lines, tops, cellSize, selectedKey, cursor, onSelect, height }: WithTops & { height: number }) {
  return (
    <ul class="reel-labels" style={{ width: px(LABEL_WIDTH), height: px(height) }}>
      {lines.value.map((line, index) => (
        <li key={line.key} style={{ top: px(tops.value[index]!), height: px(cellSize.value) }}>
          <button
            type="button"
            class="reel-label"
            aria-pressed={line.key === selectedKey.value}
            title={line.description}
            onClick={() => onSelect(cursor.peek(), line)}
          >
            {line.label}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** The frame around the selected epoch's column, with its number, and around the selected cell in it. */
function Cursor({ lines, columns, cellSize, cursor, selectedKey, tops }: WithTops) {
  const label = columns.value.labels[cursor.value];
  if (label === undefined) return null;
  const row = lines.value.findIndex((line) => line.key === selectedKey.value);
  const isLast = cursor.value === columns.value.labels.length - 1;
  const offset = px(cursor.value * cellSize.value);
  return (
    <div
      class="reel-cursor"
      aria-hidden="true"
      style={{ left: px(LABEL_WIDTH), width: px(cellSize.value), transform: `translateX(${offset})` }}
    >
      <div class={isLast ? "reel-epoch last" : "reel-epoch"} style={{ height: px(HEADER_HEIGHT) }}>
        <span>{label}</span>
      </div>
      {row >= 0 && <div class="reel-cell" style={{ top: px(tops.value[row]!), height: px(cellSize.value) }} />}
    </div>
  );
}
