// Layout of the reel: which epochs have a column, and how large a cell is. Lengths are CSS pixels.

/** Space for cells without scrolling. */
export interface Viewport {
  width: number;
  height: number;
}

export interface Layout {
  cell: number; // side of a cell
  step: number; // epochs from column to column
}

export const HEADER_HEIGHT = 22;
export const LABEL_WIDTH = 116;
export const GROUP_GAP = 6;
export const BAR_HEIGHT = 3; // of the strength bar below a cell
const LINE_GAP = 1;
export const RIGHT_MARGIN = 4; // for the last column's number, where it is wider than the column
const BOTTOM_MARGIN = 2; // for the cursor's frame

export const CELL_SIZES = [24, 28, 32, 36, 40, 48, 56, 64, 80, 96] as const;
const MIN_FITTED_CELL = 24;
const MAX_FITTED_CELL = 64;
const STEP_DIGITS = [1, 2, 5];

/** Height of a line: a cell and its strength bar. */
export const lineHeight = (cell: number): number => cell + BAR_HEIGHT + LINE_GAP;

/** Height of the reel, its header included. */
export const reelHeight = (cell: number, lines: number, groups: number): number =>
  HEADER_HEIGHT + lineHeight(cell) * lines + GROUP_GAP * Math.max(0, groups - 1) + BOTTOM_MARGIN;

/** Top of each line; a line that starts a group has a gap above it, except for the first. */
export function lineTops(startsGroup: boolean[], cell: number): number[] {
  let top = HEADER_HEIGHT;
  return startsGroup.map((starts, index) => {
    if (index > 0) top += lineHeight(cell) + (starts ? GROUP_GAP : 0);
    return top;
  });
}

const MAX_LABELS = 200; // lines whose labels are all laid out

/** Indices of the first line with a label and of the one after the last: all, or of many, those near the visible part. */
export function labeledLines(tops: number[], scrollTop: number, height: number): [first: number, end: number] {
  if (tops.length <= MAX_LABELS) return [0, tops.length];
  const first = tops.findIndex((top) => top >= scrollTop - height);
  const end = tops.findIndex((top) => top > scrollTop + 2 * height);
  return [first < 0 ? tops.length : first, end < 0 ? tops.length : end];
}

/** The smallest of 1, 2, 5, 10, 20, 50, ... that is at least `minimum`. */
export function niceStep(minimum: number): number {
  for (let power = 1; ; power *= 10) {
    for (const digit of STEP_DIGITS) if (digit * power >= minimum) return digit * power;
  }
}

/** The largest of 1, 2, 5, 10, 20, 50, ... below `step`; 1 for 1. */
export function finerStep(step: number): number {
  let finer = 1;
  for (let power = 1; power <= step; power *= 10) {
    for (const digit of STEP_DIGITS) if (digit * power < step) finer = digit * power;
  }
  return finer;
}

/** Every step-th epoch from 0, and the last. Empty if `last` is -1. */
export function sampleEpochs(last: number, step: number): number[] {
  const epochs: number[] = [];
  for (let epoch = 0; epoch <= last; epoch += step) epochs.push(epoch);
  if (step > 1 && last >= 0 && epochs.at(-1) !== last) epochs.push(last);
  return epochs;
}

/**
 * Index of the column that shows an epoch: its own, else the nearest one between the first and the last, whose epoch it
 * replaces. -1 without columns.
 */
export function columnOf(epochs: readonly number[], epoch: number): number {
  const own = epochs.indexOf(epoch);
  if (own >= 0 || epochs.length < 3) return Math.max(own, Math.min(0, epochs.length - 1));
  let nearest = 1;
  for (let column = 2; column < epochs.length - 1; column++) {
    if (Math.abs(epochs[column]! - epoch) < Math.abs(epochs[nearest]! - epoch)) nearest = column;
  }
  return nearest;
}

/** The largest step that leaves a column between the first epoch and the last, if there is an epoch between them. */
export const maxStep = (last: number): number => Math.max(1, Math.floor(last / 2));

/** What has to fit into the viewport. */
export interface ReelExtent {
  epochs: number;
  plannedEpochs: number; // at most as many columns are left free for those that are not recorded yet
  lines: number;
  groups: number;
}

/** The layout in which all columns fit the viewport, and all lines too unless cells would become too small. */
export function fitLayout(viewport: Viewport, { epochs, plannedEpochs, lines, groups }: ReelExtent): Layout {
  const smallest = CELL_SIZES[0];
  const columnsThatFit = Math.floor(viewport.width / smallest);
  // One column is reserved for the last epoch.
  const step = epochs <= columnsThatFit ? 1 : niceStep(epochs / Math.max(2, columnsThatFit - 1));
  const columnsOf = (count: number) => Math.ceil((count - 1) / step) + 1;
  const visibleColumns = Math.max(columnsOf(epochs), Math.min(columnsOf(plannedEpochs), columnsThatFit));
  const fits = (size: number) => size <= MAX_FITTED_CELL && size * visibleColumns <= viewport.width;
  const byWidth = CELL_SIZES.findLast(fits) ?? smallest;
  // Not limited to CELL_SIZES: the number of lines does not change while a run trains.
  const byHeight = Math.floor((viewport.height - reelHeight(0, lines, groups)) / Math.max(1, lines));
  return { cell: byHeight >= MIN_FITTED_CELL ? Math.min(byWidth, byHeight) : byWidth, step };
}

/** Zoom in (1), out (-1) or to the fitted layout (0). */
export type ZoomDirection = 1 | -1 | 0;

/** The layout after a zoom: the step changes before the cell size does. Null: the fitted layout. */
export function zoomLayout({ cell, step }: Layout, fitted: Layout, direction: ZoomDirection): Layout | null {
  const smallest = CELL_SIZES[0];
  // Further out than the fitted layout would only show less.
  if (direction < 0 && step >= fitted.step && cell <= Math.max(fitted.cell, smallest)) return null;
  if (direction === 0) return null;
  if (direction > 0) {
    const larger = CELL_SIZES.find((size) => size > cell) ?? cell;
    return { cell: step > 1 ? cell : larger, step: finerStep(step) };
  }
  if (cell > smallest) return { cell: CELL_SIZES.findLast((size) => size < cell) ?? cell, step };
  return { cell, step: niceStep(step + 1) };
}
