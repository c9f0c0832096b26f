// How a run is looked at. All of it is in the address, so that a link restores the exact view.

import { batch, effect, signal, type Signal } from "@preact/signals";
import { heightOf, type Room } from "../maps/ReelCanvas";
import type { ScaleName, Style } from "../maps/scale";
import { params, replaceParams } from "../route";

export type Shown = "both" | "a" | "b";
export type Rows = "probes" | "classes";

export const STYLES: readonly Style[] = ["overlay", "heatmap", "signed"];
export const SCALES: readonly ScaleName[] = ["map", "strip", "run"];
export const CELL_SIZES = [24, 28, 32, 36, 40, 48, 56, 64, 80, 96] as const;
const FITTED_AT_LEAST = 28;
const FITTED_AT_MOST = 64;
const SHOWN: readonly Shown[] = ["both", "a", "b"];
const ROWS: readonly Rows[] = ["probes", "classes"];

export interface View {
  epoch: Signal<number | null>; // null: the latest, as epochs land
  methodA: Signal<string>;
  methodB: Signal<string>;
  shown: Signal<Shown>;
  rows: Signal<Rows>;
  image: Signal<string | null>; // the selected probe, by reference; null: the first
  scale: Signal<ScaleName>;
  style: Signal<Style>;
  colormap: Signal<string>; // of maps that are not signed
  cell: Signal<number | null>; // pixels; null: as they fit
  step: Signal<number | null>; // every so many epochs a column; null: as they fit
}

const among = <T extends string>(value: string | null, allowed: readonly T[], otherwise: T): T =>
  (allowed as readonly string[]).includes(value ?? "") ? (value as T) : otherwise;

const count = (value: string | null): number | null =>
  value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;

/** The view that the address asks for; it and the address then change together. */
export function openView(firstMethod = "conventional"): { view: View; close: () => void } {
  const at = params.peek();
  const view: View = {
    epoch: signal(count(at.get("epoch"))),
    methodA: signal(at.get("a") ?? firstMethod),
    methodB: signal(at.get("b") ?? "proposed"),
    shown: signal(among(at.get("show"), SHOWN, "both")),
    rows: signal(among(at.get("rows"), ROWS, "probes")),
    image: signal(at.get("image")),
    scale: signal(among(at.get("scale"), SCALES, "map")),
    style: signal(among(at.get("style"), STYLES, "overlay")),
    colormap: signal(at.get("colors") ?? "viridis"),
    cell: signal(count(at.get("cell"))),
    step: signal(count(at.get("step")) || null),
  };
  let waiting = 0;
  const close = effect(() => {
    const text = (value: unknown, otherwise: unknown) => (value === otherwise ? null : String(value));
    const change = {
      epoch: text(view.epoch.value, null),
      a: text(view.methodA.value, firstMethod),
      b: text(view.methodB.value, "proposed"),
      show: text(view.shown.value, "both"),
      rows: text(view.rows.value, "probes"),
      image: text(view.image.value, null),
      scale: text(view.scale.value, "map"),
      style: text(view.style.value, "overlay"),
      colors: text(view.colormap.value, "viridis"),
      cell: text(view.cell.value, null),
      step: text(view.step.value, null),
    };
    // Browsers refuse an address that changes at every frame of a scrub.
    clearTimeout(waiting);
    waiting = window.setTimeout(() => replaceParams(change), 150);
  });
  return {
    view,
    close: () => {
      clearTimeout(waiting);
      close();
    },
  };
}

/** The method of each line of a pair that is shown: its index in the question's methods. */
export const linesOf = (shown: Shown): number[] => (shown === "both" ? [0, 1] : shown === "a" ? [0] : [1]);

const NICE = [1, 2, 5];

/** The smallest of 1, 2, 5, 10, 20, 50, ... that is at least `least`. */
export function niceStep(least: number): number {
  for (let ten = 1; ; ten *= 10) for (const one of NICE) if (one * ten >= least) return one * ten;
}

/** The next finer of those steps; of 1, 1. */
export function finerStep(step: number): number {
  let below = 1;
  for (let ten = 1; ten <= step; ten *= 10) for (const one of NICE) if (one * ten < step) below = one * ten;
  return below;
}

/** Every step-th of the epochs, and the last. */
export function sampled(last: number, step: number): number[] {
  const epochs: number[] = [];
  for (let epoch = 0; epoch <= last; epoch += step) epochs.push(epoch);
  if (step > 1 && last >= 0 && epochs.at(-1) !== last) epochs.push(last);
  return epochs;
}

/** Step and cell size with which all columns fit the room, and all lines where they are not too small for it. */
export function fitting(room: Room, columns: number, lines: number, groups: number): Layout {
  const across = Math.max(2, Math.floor(room.width / CELL_SIZES[0]) - 1); // one is kept for the last epoch
  const step = columns * CELL_SIZES[0] <= room.width ? 1 : niceStep(columns / across);
  const shown = Math.ceil((columns - 1) / step) + 1;
  const wide = CELL_SIZES.findLast((size) => size <= FITTED_AT_MOST && size * shown <= room.width) ?? CELL_SIZES[0];
  // To the pixel: lines do not come one by one, as epochs do.
  const tall = Math.floor((room.height - heightOf(0, lines, groups)) / Math.max(1, lines));
  return { cell: tall >= FITTED_AT_LEAST ? Math.min(wide, tall) : wide, step };
}

export interface Layout {
  cell: number; // CSS pixels
  step: number; // epochs from column to column
}

/** Zoom in (1), out (-1) or back to what fits (0): first the step between columns, then the cells' size. */
export function zoom(view: View, { cell, step }: Layout, fit: Layout, direction: 1 | -1 | 0): void {
  batch(() => {
    // Further out than all that fits would only show less.
    if (direction === 0 || (direction < 0 && step >= fit.step && cell <= Math.max(fit.cell, CELL_SIZES[0]))) {
      view.cell.value = null;
      view.step.value = null;
    } else if (direction > 0) {
      view.cell.value = step > 1 ? cell : (CELL_SIZES.find((size) => size > cell) ?? cell);
      view.step.value = finerStep(step);
    } else if (cell > CELL_SIZES[0]) {
      view.cell.value = CELL_SIZES.findLast((size) => size < cell) ?? cell;
      view.step.value = step;
    } else {
      view.cell.value = cell;
      view.step.value = niceStep(step + 1);
    }
  });
}
