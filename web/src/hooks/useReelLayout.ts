import { batch, type ReadonlySignal, type Signal, useComputed, useSignal } from "@preact/signals";
import {
  columnOf,
  fitLayout,
  type Layout,
  maxStep,
  type ReelExtent,
  sampleEpochs,
  type Viewport,
  type ZoomDirection,
  zoomLayout,
} from "../maps/layout";
import type { EpochCursor } from "./useEpochCursor";
import type { View } from "./useView";

const MIN_CELL = 16;
const MAX_CELL = 128;
const UNMEASURED: Viewport = { width: 1000, height: Infinity };

export interface ReelLayout {
  viewport: Signal<Viewport>;
  layout: ReadonlySignal<Layout>;
  epochs: ReadonlySignal<number[]>; // by column
  cursorColumn: ReadonlySignal<number>; // which shows the selected epoch, even if that is not one of `epochs`
  zoom: (direction: ZoomDirection) => void;
}

/** Columns and cell size of the reel: those of the view, or fitted to the viewport with cells of at least `minimumCell`. */
export function useReelLayout(
  view: View,
  cursor: EpochCursor,
  extent: () => ReelExtent,
  minimumCell = MIN_CELL,
): ReelLayout {
  const viewport = useSignal(UNMEASURED);
  const fitted = useComputed<Layout>(() => {
    const { cell, step } = fitLayout(viewport.value, extent());
    return { cell: Math.max(cell, minimumCell), step };
  });
  const layout = useComputed<Layout>(() => {
    const cell = view.cell.value ?? fitted.value.cell;
    const step = view.step.value ?? (view.cell.value ? 1 : fitted.value.step);
    return { cell: Math.min(Math.max(cell, MIN_CELL), MAX_CELL), step: Math.min(step, maxStep(cursor.last.value)) };
  });
  const epochs = useComputed(() => sampleEpochs(cursor.last.value, layout.value.step));
  const cursorColumn = useComputed(() => columnOf(epochs.value, cursor.epoch.value));
  const zoom = (direction: ZoomDirection) =>
    batch(() => {
      const next = zoomLayout(layout.peek(), fitted.peek(), direction);
      view.cell.value = next?.cell ?? null;
      view.step.value = next?.step ?? null;
    });
  return { viewport, layout, epochs, cursorColumn, zoom };
}
