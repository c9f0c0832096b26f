// How the maps of a run are shown. The URL holds all of it, so that a link restores the exact view.

import { batch, effect, type Signal, signal } from "@preact/signals";
import { useLayoutEffect, useMemo } from "preact/hooks";
import { recordedMethods } from "../api/catalogue";
import type { Colormap, Method } from "../api/types";
import { hasLayers, type LayerMenu } from "../maps/layers";
import { parseMethodSpec } from "../maps/methodSpec";
import type { RowKind } from "../maps/reel";
import type { DrawStyle, ScaleName } from "../maps/scale";
import { replaceSearchParams, searchParams } from "../navigation";

export type VisibleMethods = "both" | "a" | "b";

export const DRAW_STYLES: readonly DrawStyle[] = ["overlay", "heatmap", "signed"];
export const SCALES: readonly ScaleName[] = ["map", "strip", "run"];
const VISIBLE_METHODS: readonly VisibleMethods[] = ["both", "a", "b"];
const ROWS: readonly RowKind[] = ["probes", "classes"];
const DEFAULT_SCALE = "strip"; // the maps of the paper's methods fade by orders of magnitude, which "map" hides
const DEFAULT_COLORMAP = "viridis";
const DEFAULT_OPACITY = 0.85; // as of the API
const URL_DELAY_MS = 150; // browsers refuse a URL that changes with every frame

/** A value in the address that the page does not know, so that it shows the default. */
export interface IgnoredValue {
  parameter: string;
  value: string;
}

export interface View {
  epoch: Signal<number | null>; // null: the latest
  methodA: Signal<string>;
  methodB: Signal<string>;
  layerA: Signal<string | null>; // or several, as in `conv1,conv2`; null: the run's default
  layerB: Signal<string | null>;
  visibleMethods: Signal<VisibleMethods>;
  rows: Signal<RowKind>;
  image: Signal<string | null>; // reference of the selected image; null: the first probe
  scale: Signal<ScaleName>;
  style: Signal<DrawStyle>;
  colormap: Signal<string>; // of maps that are not signed
  opacity: Signal<number>; // of an overlay's colors at the top of the scale, 0 to 1
  cell: Signal<number | null>; // CSS pixels; null: fitted
  step: Signal<number | null>; // epochs from column to column; null: fitted
  ignored: Signal<IgnoredValue[]>;
  defaultMethods: readonly [a: string, b: string];
}

/** The view that the URL describes, and from then on the URL of the view. `methodA` is the default of its method A. */
export function useView(methodA = recordedMethods()[0] ?? ""): View {
  const methodB = recordedMethods().findLast((method) => method !== methodA) ?? "";
  const { view, stop } = useMemo(() => openView(methodA, methodB), []);
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
  const ignored: IgnoredValue[] = [];
  /** The parameter's value, or the default if it is absent or `parse` returns null. */
  const read = <T>(parameter: string, parse: (value: string) => T | null, byDefault: T): Signal<T> => {
    const value = params.get(parameter);
    const parsed = value === null ? byDefault : parse(value);
    if (parsed === null && value !== null) ignored.push({ parameter, value });
    return signal(parsed ?? byDefault);
  };
  return {
    epoch: read<number | null>("epoch", parseCount, null),
    methodA: read("a", identity, methodA), // checked when the catalogue is loaded
    methodB: read("b", identity, methodB),
    layerA: read<string | null>("layer_a", identity, null), // checked when the network is loaded
    layerB: read<string | null>("layer_b", identity, null),
    visibleMethods: read("show", oneOf(VISIBLE_METHODS), "both"),
    rows: read("rows", oneOf(ROWS), "probes"),
    image: read<string | null>("image", parseReference, null),
    scale: read("scale", oneOf(SCALES), DEFAULT_SCALE),
    style: read("style", oneOf(DRAW_STYLES), "overlay"),
    colormap: read("colors", identity, DEFAULT_COLORMAP),
    opacity: read("opacity", parseShare, DEFAULT_OPACITY),
    cell: read<number | null>("cell", parseCount, null),
    step: read<number | null>("step", (value) => parseCount(value) || null, null),
    ignored: signal(ignored),
    defaultMethods: [methodA, methodB],
  };
}

/** Shows the latest epoch, `last`, if the address names a later one. */
export function ignoreMissingEpoch(view: View, last: number): void {
  const epoch = view.epoch.value;
  if (epoch === null || last < 0 || epoch <= last) return;
  batch(() => {
    view.ignored.value = [...view.ignored.peek(), { parameter: "epoch", value: String(epoch) }];
    view.epoch.value = null;
  });
}

/** Replaces methods and a colormap that the catalogue lacks by the defaults. */
export function ignoreUnknownNames(view: View, methods: Method[], colormaps: Colormap[]): void {
  const [methodA, methodB] = view.defaultMethods;
  const isColormap = (name: string) => colormaps.some((colormap) => colormap.name === name);
  const isMethod = (text: string) => {
    const { method: base, target } = parseMethodSpec(text);
    const method = methods.find(({ name }) => name === base);
    return method && (target === undefined || method.targets.includes(target));
  };
  const check = (parameter: string, name: Signal<string>, isKnown: (name: string) => unknown, byDefault: string) => {
    const value = name.peek();
    if (isKnown(value)) return;
    view.ignored.value = [...view.ignored.peek(), { parameter, value }];
    name.value = byDefault;
  };
  batch(() => {
    check("a", view.methodA, isMethod, methodA);
    check("b", view.methodB, isMethod, methodB);
    check("colors", view.colormap, isColormap, DEFAULT_COLORMAP);
  });
}

/** Replaces layers that the networks lack by the default, which is also how the default itself is stated. */
export function ignoreUnknownLayers(view: View, menu: LayerMenu): void {
  const check = (parameter: string, layer: Signal<string | null>) => {
    const value = layer.peek();
    if (value === null) return;
    const isKnown = hasLayers(menu, value);
    if (isKnown && value !== menu.defaultLayer) return;
    if (!isKnown) view.ignored.value = [...view.ignored.peek(), { parameter, value }];
    layer.value = null;
  };
  batch(() => {
    check("layer_a", view.layerA);
    check("layer_b", view.layerB);
  });
}

/** The URL's parameters; null for those that have their default. */
function formatView(view: View, methodA: string, methodB: string): Record<string, string | null> {
  const text = (value: unknown, byDefault: unknown) => (value === byDefault ? null : String(value));
  return {
    epoch: text(view.epoch.value, null),
    a: text(view.methodA.value, methodA),
    b: text(view.methodB.value, methodB),
    layer_a: text(view.layerA.value, null),
    layer_b: text(view.layerB.value, null),
    show: text(view.visibleMethods.value, "both"),
    rows: text(view.rows.value, "probes"),
    image: text(view.image.value, null),
    scale: text(view.scale.value, DEFAULT_SCALE),
    style: text(view.style.value, "overlay"),
    colors: text(view.colormap.value, DEFAULT_COLORMAP),
    opacity: text(view.opacity.value, DEFAULT_OPACITY),
    cell: text(view.cell.value, null),
    step: text(view.step.value, null),
  };
}

const identity = (value: string): string => value;

const oneOf =
  <T extends string>(allowed: readonly T[]) =>
  (value: string): T | null =>
    allowed.find((candidate) => candidate === value) ?? null;

const parseCount = (value: string): number | null => (/^\d{1,6}$/.test(value) ? Number(value) : null);

const parseReference = (value: string): string | null =>
  /^((test|train):\d{1,9}|upload:[\w-]{1,64})$/.test(value) ? value : null;

const parseShare = (value: string): number | null =>
  /^(0(\.\d{1,4})?|1(\.0{1,4})?)$/.test(value) ? Number(value) : null;

/** Indices of the selection's two methods that are visible. */
export function visibleMethodIndices(methods: VisibleMethods): number[] {
  if (methods === "both") return [0, 1];
  return methods === "a" ? [0] : [1];
}
