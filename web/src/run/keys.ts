// The keys of a run's page.

import { helpOpen, lettersOn } from "../parts/Help";
import { dark, choose } from "../theme";
import { SCALES, STYLES, type View } from "./view";

export interface Deeds {
  view: View;
  step: (by: number) => void;
  seek: (epoch: number) => void;
  last: () => number;
  row: (by: number) => void;
  play: () => void;
  follow: () => void;
  zoom: (direction: 1 | -1 | 0) => void;
}

const COLOURS = ["viridis", "cividis", "inferno", "turbo", "jet", "gray"];

const next = <T>(all: readonly T[], now: T): T => all[(all.indexOf(now) + 1) % all.length]!;

const DEEDS: Record<string, (deeds: Deeds, event: KeyboardEvent) => void> = {
  ArrowLeft: (d, e) => d.step(e.shiftKey ? -10 : -1),
  ArrowRight: (d, e) => d.step(e.shiftKey ? 10 : 1),
  ArrowUp: (d) => d.row(-1),
  ArrowDown: (d) => d.row(1),
  Home: (d) => d.seek(0),
  End: (d) => d.seek(d.last()),
  " ": (d) => d.play(),
  f: ({ view }) => (view.shown.value = view.shown.value === "a" ? "b" : "a"),
  b: ({ view }) => (view.shown.value = "both"),
  r: ({ view }) => (view.rows.value = view.rows.value === "probes" ? "classes" : "probes"),
  s: ({ view }) => (view.style.value = next(STYLES, view.style.value)),
  g: ({ view }) => (view.scale.value = next(SCALES, view.scale.value)),
  c: ({ view }) => (view.colormap.value = next(COLOURS, view.colormap.value)),
  "+": (d) => d.zoom(1),
  "=": (d) => d.zoom(1),
  "-": (d) => d.zoom(-1),
  "0": (d) => d.zoom(0),
  l: (d) => d.follow(),
  d: () => choose(dark.value ? "light" : "dark"),
  "?": () => (helpOpen.value = !helpOpen.value),
};

/** Keys that a control takes for itself when it has the focus. */
function taken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (target.closest("dialog, textarea, [contenteditable]")) return true;
  if (target instanceof HTMLInputElement) return target.type !== "range" || event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
  if (target instanceof HTMLSelectElement) return true;
  return event.key === " " && target.closest("button, a, summary") !== null;
}

export function listen(deeds: Deeds): () => void {
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || taken(event)) return;
    if (event.key.length === 1 && event.key !== " " && !lettersOn.peek()) return;
    const deed = DEEDS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!deed) return;
    event.preventDefault();
    deed(deeds, event);
  };
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}
