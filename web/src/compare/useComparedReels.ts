import { type ReadonlySignal, untracked, useComputed } from "@preact/signals";
import type { EpochCursor } from "../hooks/useEpochCursor";
import type { ReelLayout } from "../hooks/useReelLayout";
import { useReels } from "../hooks/useReels";
import type { Selection } from "../hooks/useSelection";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import type { View } from "../hooks/useView";
import type { Reel } from "../maps/reel";
import type { Alignment } from "./useAlignment";
import { type CompareOptions, shownMethods } from "./useCompareOptions";
import type { ComparedRun } from "./useComparison";

/** The reels of all runs, of each run one per shown method. */
export interface ComparedReels {
  reels: ReadonlySignal<Reel[]>;
  methodCount: ReadonlySignal<number>;
}

/** Reels with the maps of all columns, those at the cursor first; idle for runs without maps. */
export function useComparedReels(
  runs: ComparedRun[],
  view: View,
  selection: Selection,
  alignment: Alignment,
  options: CompareOptions,
  cursor: EpochCursor,
  reelLayout: () => ReelLayout,
): ComparedReels {
  // All probes if all are shown, or if the scale covers all of them; else only the selected one.
  const image = useComputed(() =>
    view.scale.value === "run" || options.showsAllProbes.value ? null : selection.image.value,
  );
  const methods = useComputed(() => shownMethods(view, options.isPair.value));
  const methodCount = useComputed(() => methods.value.length);
  const reels = useReels(() =>
    runs.flatMap(({ id }) =>
      methods.value.map(({ method, layer }) => ({ runId: id, method, layer, rows: "probes", image: image.value })),
    ),
  );
  useSignalLayoutEffect(() => {
    const columns = reelLayout().epochs.value;
    const current = cursor.epoch.value;
    reels.value.forEach((reel, index) => {
      const runIndex = Math.floor(index / methodCount.value);
      const { feed, absence } = runs[runIndex]!;
      if (!feed.run.value || absence.value !== null) return;
      const last = feed.epochs.value.length - 1;
      const epochsOf = (selected: number[]) =>
        [...new Set(selected.map((column) => alignment.epochAt(runIndex, column)))].filter((epoch) => epoch <= last);
      const visible = epochsOf(columns);
      const atCursor = epochsOf([current]);
      untracked(() => {
        reel.request(visible);
        reel.request(atCursor);
      });
    });
  });
  return { reels, methodCount };
}
