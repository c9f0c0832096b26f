import { type ReadonlySignal, untracked, useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { type AtlasSelection, Reel } from "../maps/reel";
import { useSignalLayoutEffect } from "./useSignalLayoutEffect";

/**
 * The maps of several selections, one reel each; equal selections share a reel. A reel whose selection changes is
 * replaced, and shown until the maps of the next one are loaded. While `selections` returns null, all stay as they are.
 */
export function useReels(selections: () => AtlasSelection[] | null): ReadonlySignal<Reel[]> {
  const reels = useSignal<Reel[]>([]);
  useSignalLayoutEffect(() => {
    const next = selections();
    if (next) untracked(() => (reels.value = replaceReels(reels.value, next)));
  });
  useLayoutEffect(
    () => () => {
      for (const reel of reels.peek()) reel.close();
    },
    [],
  );
  return reels;
}

function replaceReels(previous: Reel[], selections: AtlasSelection[]): Reel[] {
  const bySelection = new Map(previous.map((reel) => [JSON.stringify(reel.selection), reel]));
  const next = selections.map((selection, index) => {
    const key = JSON.stringify(selection);
    const reel = bySelection.get(key) ?? new Reel(selection, latestLoaded(previous[index]));
    bySelection.set(key, reel);
    return reel;
  });
  if (next.length === previous.length && next.every((reel, index) => reel === previous[index])) return previous;
  for (const reel of previous) if (!next.includes(reel)) reel.close();
  return next;
}

/** The reel itself if it has maps, else the one that it replaces. */
function latestLoaded(reel: Reel | undefined): Reel | null {
  if (!reel?.rows.length) return reel?.predecessor ?? null;
  reel.predecessor = null;
  return reel;
}
