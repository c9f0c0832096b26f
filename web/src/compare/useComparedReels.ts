import { type ReadonlySignal, untracked, useComputed } from "@preact/signals";
import { requestedLayers } from "../hooks/useCatalogue";
import type { EpochCursor } from "../hooks/useEpochCursor";
import type { ReelLayout } from "../hooks/useReelLayout";
import { useReels } from "../hooks/useReels";
import type { Selection } from "../hooks/useSelection";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import type { View } from "../hooks/useView";
import type { Reel } from "../maps/reel";
import type { Alignment } from "./useAlignment";
import type { ComparedRun } from "./useComparison";

/** One reel per run, with the maps of all columns, those at the cursor first; idle for runs without maps. */
export function useComparedReels(
  runs: ComparedRun[],
  view: View,
  selection: Selection,
  alignment: Alignment,
  cursor: EpochCursor,
  reelLayout: ReelLayout,
): ReadonlySignal<Reel[]> {
  // All probes if the scale covers all of them, else only the selected one.
  const image = useComputed(() => (view.scale.value === "run" ? null : selection.image.value));
  const reels = useReels(() => {
    const { value: method } = view.methodA;
    const [layer] = requestedLayers(view);
    return runs.map(({ id }) => ({ runId: id, method, layer, rows: "probes", image: image.value }));
  });
  useSignalLayoutEffect(() => {
    const columns = reelLayout.epochs.value;
    const current = cursor.epoch.value;
    reels.value.forEach((reel, index) => {
      const { feed, absence } = runs[index]!;
      if (!feed.run.value || absence.value !== null) return;
      const last = feed.epochs.value.length - 1;
      const epochsOf = (selected: number[]) =>
        [...new Set(selected.map((column) => alignment.epochAt(index, column)))].filter((epoch) => epoch <= last);
      const visible = epochsOf(columns);
      const atCursor = epochsOf([current]);
      untracked(() => {
        reel.request(visible);
        reel.request(atCursor);
      });
    });
  });
  return reels;
}
