import { type ReadonlySignal, untracked, useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { type AtlasSelection, Reel } from "../maps/reel";
import { useSignalLayoutEffect } from "./useSignalLayoutEffect";

/**
 * The maps of several selections, one reel each. Reels of selections that change are replaced; while `selections`
 * returns null, they stay as they are.
 */
export function useReels(selections: () => AtlasSelection[] | null): ReadonlySignal<Reel[]> {
  const reels = useSignal<Reel[]>([]);
  useSignalLayoutEffect(() => {
    const next = selections();
    const previous = reels.peek();
    if (!next || JSON.stringify(previous.map((reel) => reel.selection)) === JSON.stringify(next)) return;
    untracked(() => {
      for (const reel of previous) reel.close();
      reels.value = next.map((selection) => new Reel(selection));
    });
  });
  useLayoutEffect(
    () => () => {
      for (const reel of reels.peek()) reel.close();
    },
    [],
  );
  return reels;
}

/** The maps of one selection; null before there is a selection. */
export function useReel(selection: () => AtlasSelection | null): ReadonlySignal<Reel | null> {
  const reels = useReels(() => {
    const next = selection();
    return next && [next];
  });
  return useComputed(() => reels.value[0] ?? null);
}
