// How the maps of a run are shown. The URL holds all of it, so that a link restores the exact view.

import { effect, type Signal, signal } from "@preact/signals";
import { useLayoutEffect, useMemo } from "preact/hooks";
import { recordedMethods } from "../api/catalogue";
import type { RowKind } from "../maps/reel";
import type { DrawStyle, ScaleName } from "../maps/scale";
import { replaceSearchParams, searchParams } from "../navigation";

export type VisibleMethods = "both" | "a" | "b";

export const DRAW_STYLES: readonly DrawStyle[] = ["overlay", "heatmap", "signed"];
export const SCALES: readonly ScaleName[] = ["map", "strip", "run"];
const VISIBLE_METHODS: readonly VisibleMethods[] = ["both", "a", "b"];
const ROWS: readonly RowKind[] = ["probes", "classes"];
const DEFAULT_COLORMAP = "viridis";
const DEFAULT_OPACITY = 0.85; // as of the API
const URL_DELAY_MS = 150; // browsers refuse a URL that changes with every frame

export interface View {
  epoch: Signal<number | null>; // null: the latest
  methodA: Signal<string>;
  methodB: Signal<string>;
  visibleMethods: Signal<VisibleMethods>;
  rows: Signal<RowKind>;
  image: Signal<string | null>; // reference of the selected image; null: the first probe
  scale: Signal<ScaleName>;
  style: Signal<DrawStyle>;
  colormap: Signal<string>; // of maps that are not signed
  opacity: Signal<number>; // of an overlay's colors at the top of the scale, 0 to 1
  cell: Signal<number | null>; // CSS pixels; null: fitted
  step: Signal<number | null>; // epochs from column to column; null: fitted
}

/** The view that the URL describes, and from then on the URL of the view. `methodA` is the default of its method A. */
export function useView(methodA = recordedMethods()[0] ?? ""): View {
  const { view, stop } = useMemo(() => openView(methodA, recordedMethods()[1] ?? ""), []);
  useLayoutEffect(() => stop, []);
  return view;
}

function openView(methodA: string, methodB: string): { view: View; stop: () => void } {
  const view = parseView(searchParams.peek(), methodA, methodB);
  let timer = 0;
  const stop = effect(() => {
    const changes = formatView(view, methodA, methodB);
    clearTimeout(timer);
    timer = window.setTimeout(() => replaceSearchParams(changes), URL_DELAY_MS);
  });
  return {
    view,
    stop: () => {
      clearTimeout(timer);
      stop();
    },
  };
}

function parseView(params: URLSearchParams, methodA: string, methodB: string): View {
  return {
    epoch: signal(parseCount(params.get("epoch"))),
    methodA: signal(params.get("a") ?? methodA),
    methodB: signal(params.get("b") ?? methodB),
    visibleMethods: signal(oneOf(params.get("show"), VISIBLE_METHODS, "both")),
    rows: signal(oneOf(params.get("rows"), ROWS, "probes")),
    image: signal(params.get("image")),
    scale: signal(oneOf(params.get("scale"), SCALES, "map")),
    style: signal(oneOf(params.get("style"), DRAW_STYLES, "overlay")),
    colormap: signal(params.get("colors") ?? DEFAULT_COLORMAP),
    opacity: signal(parseShare(params.get("opacity")) ?? DEFAULT_OPACITY),
    cell: signal(parseCount(params.get("cell"))),
    step: signal(parseCount(params.get("step")) || null),
  };
}

/** The URL's parameters; null for those that have their default. */
function formatView(view: View, methodA: string, methodB: string): Record<string, string | null> {
  const text = (value: unknown, byDefault: unknown) => (value === byDefault ? null : String(value));
  return {
    epoch: text(view.epoch.value, null),
    a: text(view.methodA.value, methodA),
    b: text(view.methodB.value, methodB),
    show: text(view.visibleMethods.value, "both"),
    rows: text(view.rows.value, "probes"),
    image: text(view.image.value, null),
    scale: text(view.scale.value, "map"),
    style: text(view.style.value, "overlay"),
    colors: text(view.colormap.value, DEFAULT_COLORMAP),
    opacity: text(view.opacity.value, DEFAULT_OPACITY),
    cell: text(view.cell.value, null),
    step: text(view.step.value, null),
  };
}

const oneOf = <T extends string>(value: string | null, allowed: readonly T[], byDefault: T): T =>
  (allowed as readonly string[]).includes(value ?? "") ? (value as T) : byDefault;

const parseCount = (value: string | null): number | null =>
  value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;

const parseShare = (value: string | null): number | null =>
  value !== null && /^(0(\.\d{1,4})?|1(\.0{1,4})?)$/.test(value) ? Number(value) : null;

/** Indices of the selection's two methods that are visible. */
export function visibleMethodIndices(methods: VisibleMethods): number[] {
  if (methods === "both") return [0, 1];
  return methods === "a" ? [0] : [1];
}
