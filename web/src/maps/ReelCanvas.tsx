// The reel: lines of maps over columns of epochs, on a canvas as large as its visible part. What moves with the
// scrubber are elements above it, since a browser copies a whole canvas for every change of it: a frame around the
// selected epoch's column and, if the columns are sampled, a canvas with its maps.

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import {
  HEADER_HEIGHT,
  LABEL_WIDTH,
  labeledLines,
  lineHeight,
  lineTops,
  RIGHT_MARGIN,
  reelHeight,
  type Viewport,
} from "./layout";
import { ReelTooltip, useReelPointer } from "./ReelPointer";
import type { LineMaps } from "./tiles";
import { useColumnPainter, useReelPainter } from "./useReelPainter";
import { type ReelScroll, useReelScroll } from "./useReelScroll";

/** One line of cells. */
export interface Line extends LineMaps {
  key: string;
  label: ComponentChildren;
  description: string;
  missing: (epoch: number) => string; // why there is no map
  note: string | null; // why the line has no maps at all
  startsGroup: boolean; // has a gap above it
}

export interface Columns {
  epochs: number[];
  label: (epoch: number) => string;
}

export interface ReelCanvasProps {
  lines: ReadonlySignal<Line[]>;
  columns: ReadonlySignal<Columns>;
  cellSize: ReadonlySignal<number>; // CSS pixels
  epoch: ReadonlySignal<number>; // selected
  cursorColumn: ReadonlySignal<number>; // which shows the selected epoch in place of its own
  selectedKey: ReadonlySignal<string>; // of the selected line
  /** Changes with everything that the pictures depend on besides the lines; all cells are then painted again. */
  version: ReadonlySignal<string>;
  onSelect: (epoch: number, line: Line) => void;
  onResize: (viewport: Viewport) => void;
  label: string;
}

const px = (length: number): string => `${length}px`;

/** The epoch that a column shows. */
export const epochOf = ({ columns, cursorColumn, epoch }: ReelCanvasProps, column: number): number =>
  column === cursorColumn.peek() ? epoch.peek() : columns.peek().epochs[column]!;

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
      width: LABEL_WIDTH + props.columns.value.epochs.length * props.cellSize.value + RIGHT_MARGIN,
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
          <Cursor {...props} tops={tops} scroll={scroll} />
          <LineLabels {...props} tops={tops} scroll={scroll} height={extent.value.height} />
          <LineNotes {...props} tops={tops} width={scroll.visible.value.width - LABEL_WIDTH} />
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
function LineLabels(props: WithTops & { scroll: ReelScroll; height: number }) {
  const { lines, tops, cellSize, selectedKey, epoch, onSelect, scroll, height } = props;
  const labeled = useComputed(() => labeledLines(tops.value, scroll.offset.value.top, scroll.visible.value.height));
  const [first, end] = labeled.value;
  return (
    <ul class="reel-labels" style={{ width: px(LABEL_WIDTH), height: px(height) }}>
      {lines.value.slice(first, end).map((line, index) => (
        <li key={line.key} style={{ top: px(tops.value[first + index]!), height: px(lineHeight(cellSize.value)) }}>
          <button
            type="button"
            class="reel-label"
            aria-pressed={line.key === selectedKey.value}
            title={line.description}
            onClick={() => onSelect(epoch.peek(), line)}
          >
            {line.label}
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Texts in place of the maps of lines that have none. */
function LineNotes({ lines, tops, cellSize, width }: WithTops & { width: number }) {
  return (
    <ul class="reel-notes" style={{ left: px(LABEL_WIDTH), marginLeft: px(LABEL_WIDTH), width: px(width) }}>
      {lines.value.map(({ key, note }, index) =>
        note === null ? null : (
          <li key={key} title={note} style={{ top: px(tops.value[index]!), lineHeight: px(cellSize.value) }}>
            {note}
          </li>
        ),
      )}
    </ul>
  );
}

/** The frame around the selected epoch's column, with its number, and around the selected cell in it. */
function Cursor(props: WithTops & { scroll: ReelScroll }) {
  const { lines, columns, cellSize, epoch, cursorColumn, selectedKey, tops } = props;
  const { epochs, label } = columns.value;
  const column = cursorColumn.value;
  if (column < 0) return null;
  const row = lines.value.findIndex((line) => line.key === selectedKey.value);
  // As wide as the label that it covers.
  const labelLength = Math.max(...[epochs[column]!, epochs.at(-1)!].map((shown) => label(shown).length));
  return (
    <div
      class="reel-cursor"
      aria-hidden="true"
      style={{
        left: px(LABEL_WIDTH),
        width: px(cellSize.value),
        transform: `translateX(${px(column * cellSize.value)})`,
      }}
    >
      {epochs[column] !== epoch.value && <CursorColumn {...props} />}
      <div class="reel-epoch" style={{ height: px(HEADER_HEIGHT) }}>
        <span style={{ minWidth: `calc(${labelLength}ch + 4px)` }}>{label(epoch.value)}</span>
      </div>
      {row >= 0 && (
        <div class="reel-cell" style={{ top: px(tops.value[row]!), height: px(lineHeight(cellSize.value)) }} />
      )}
    </div>
  );
}

/** The maps of a selected epoch that has no column of its own, over those of the column that it replaces. */
function CursorColumn({ scroll, tops, ...props }: WithTops & { scroll: ReelScroll }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useColumnPainter(canvas, props, tops, scroll);
  return (
    <canvas
      ref={canvas}
      class="reel-column"
      style={{ width: px(props.cellSize.value), height: px(scroll.visible.value.height) }}
    />
  );
}
