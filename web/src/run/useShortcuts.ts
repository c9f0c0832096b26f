import { useEffect } from "preact/hooks";
import { isHelpOpen, singleKeysEnabled } from "../components/KeyboardHelp";
import type { EpochCursor } from "../hooks/useEpochCursor";
import { DRAW_STYLES, SCALES, type View } from "../hooks/useView";
import type { ZoomDirection } from "../maps/layout";
import { isDark, setTheme } from "../theme";

/** What the keyboard controls. */
export interface ShortcutTargets {
  view: View;
  cursor: EpochCursor;
  stepRow: (rows: number) => void;
  zoom: (direction: ZoomDirection) => void;
}

const EPOCHS_PER_LEAP = 10;
const COLORMAPS = ["viridis", "cividis", "inferno", "turbo", "jet", "gray"];

const nextOf = <T>(values: readonly T[], current: T): T => values[(values.indexOf(current) + 1) % values.length]!;

const SHORTCUTS: Record<string, (targets: ShortcutTargets, event: KeyboardEvent) => void> = {
  ArrowLeft: ({ cursor }, { shiftKey }) => cursor.step(shiftKey ? -EPOCHS_PER_LEAP : -1),
  ArrowRight: ({ cursor }, { shiftKey }) => cursor.step(shiftKey ? EPOCHS_PER_LEAP : 1),
  ArrowUp: ({ stepRow }) => stepRow(-1),
  ArrowDown: ({ stepRow }) => stepRow(1),
  Home: ({ cursor }) => cursor.seek(0),
  End: ({ cursor }) => cursor.seek(cursor.last.peek()),
  " ": ({ cursor }) => cursor.togglePlaying(),
  f: ({ view }) => (view.visibleMethods.value = view.visibleMethods.value === "a" ? "b" : "a"),
  b: ({ view }) => (view.visibleMethods.value = "both"),
  r: ({ view }) => (view.rows.value = view.rows.value === "probes" ? "classes" : "probes"),
  s: ({ view }) => (view.style.value = nextOf(DRAW_STYLES, view.style.value)),
  g: ({ view }) => (view.scale.value = nextOf(SCALES, view.scale.value)),
  c: ({ view }) => (view.colormap.value = nextOf(COLORMAPS, view.colormap.value)),
  "+": ({ zoom }) => zoom(1),
  "=": ({ zoom }) => zoom(1),
  "-": ({ zoom }) => zoom(-1),
  "0": ({ zoom }) => zoom(0),
  l: ({ cursor }) => cursor.toggleFollowing(),
  d: () => setTheme(isDark.value ? "light" : "dark"),
  "?": () => (isHelpOpen.value = !isHelpOpen.value),
};

const SLIDER_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** Whether the focused control handles the key itself. */
function isHandledByControl(event: KeyboardEvent): boolean {
  const control = event.target as HTMLElement;
  if (control.closest("dialog, textarea, [contenteditable]")) return true;
  if (control instanceof HTMLInputElement) return control.type !== "range" || SLIDER_KEYS.includes(event.key);
  if (control instanceof HTMLSelectElement) return true;
  return event.key === " " && control.closest("button, a, summary") !== null;
}

/** The keyboard shortcuts of a page with a reel. */
export function useShortcuts(targets: ShortcutTargets): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const { key } = event;
      if (event.ctrlKey || event.metaKey || event.altKey || isHandledByControl(event)) return;
      if (key.length === 1 && key !== " " && !singleKeysEnabled.peek()) return;
      const shortcut = SHORTCUTS[key.length === 1 ? key.toLowerCase() : key];
      if (!shortcut) return;
      event.preventDefault();
      shortcut(targets, event);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}
