import { type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useRef } from "preact/hooks";
import { significant, t } from "../text";
import { LABEL_WIDTH, lineHeight } from "./layout";
import type { MapCell } from "./levels";
import { epochOf, type Line, type ReelCanvasProps } from "./ReelCanvas";
import type { ScrollOffset } from "./useReelScroll";

const TOOLTIP_OFFSET = 14; // CSS pixels from the pointer

interface Tooltip {
  x: number; // CSS pixels from the reel's corner
  y: number;
  lines: string[];
}

interface CellPosition {
  epoch: number;
  line: Line;
}

/** Selects cells on press and while dragging, and describes the cell below the pointer. */
export function useReelPointer(
  canvas: RefObject<HTMLCanvasElement | null>,
  props: ReelCanvasProps,
  tops: ReadonlySignal<number[]>,
  offset: ReadonlySignal<ScrollOffset>,
) {
  const tooltip = useSignal<Tooltip | null>(null);
  const isDragging = useRef(false);

  /** The cell below the pointer, and the pointer's position from the reel's corner. */
  const locate = (event: PointerEvent): { cell: CellPosition | null; x: number; y: number } => {
    const bounds = canvas.current!.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const y = event.clientY - bounds.top;
    return { cell: cellAt(x + offset.peek().left, y + offset.peek().top, x >= LABEL_WIDTH), x, y };
  };
  const cellAt = (x: number, y: number, isRightOfLabels: boolean): CellPosition | null => {
    const cellSize = props.cellSize.peek();
    const column = Math.floor((x - LABEL_WIDTH) / cellSize);
    const line = props.lines.peek()[tops.peek().findIndex((top) => y >= top && y < top + lineHeight(cellSize))];
    if (!line || !isRightOfLabels || column < 0 || column >= props.columns.peek().epochs.length) return null;
    return { epoch: epochOf(props, column), line };
  };
  const describe = ({ epoch, line }: CellPosition): string[] => {
    const map = line.map(epoch);
    const summary = map && !map.isOutdated ? summarize(map.cell) : line.missing(epoch);
    return [t("reel.cell", { line: line.description, epoch: props.columns.peek().label(epoch) }), summary];
  };
  const handlers = {
    onPointerDown: (event: PointerEvent) => {
      const { cell } = locate(event);
      if (!cell) return;
      isDragging.current = event.pointerType === "mouse";
      if (isDragging.current) canvas.current!.setPointerCapture(event.pointerId);
      props.onSelect(cell.epoch, cell.line);
    },
    onPointerMove: (event: PointerEvent) => {
      const { cell, x, y } = locate(event);
      const lines = cell && describe(cell);
      tooltip.value = lines && { x, y, lines };
      if (cell && isDragging.current) props.onSelect(cell.epoch, cell.line);
    },
    onPointerUp: () => {
      isDragging.current = false;
    },
    onPointerLeave: () => {
      tooltip.value = null;
    },
  };
  return { tooltip, handlers };
}

/** The map's peak, or why it is blank. */
export const summarize = (map: MapCell): string =>
  map.blank === "none" ? t("reel.peak", { peak: significant(map.peak) }) : t(`blank.${map.blank}`);

export function ReelTooltip({ tooltip }: { tooltip: Signal<Tooltip | null> }) {
  if (!tooltip.value) return null;
  const { x, y, lines } = tooltip.value;
  return (
    <div
      class="reel-tooltip"
      role="tooltip"
      style={{ left: `${x + TOOLTIP_OFFSET}px`, top: `${y + TOOLTIP_OFFSET}px` }}
    >
      {lines.map((line) => (
        <div key={line}>{line}</div>
      ))}
    </div>
  );
}
