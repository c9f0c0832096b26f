import { type ReadonlySignal, untracked, useComputed } from "@preact/signals";
import type { EpochCursor } from "../hooks/useEpochCursor";
import { useReel } from "../hooks/useReel";
import type { RunFeed } from "../hooks/useRunFeed";
import type { Selection } from "../hooks/useSelection";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import type { View } from "../hooks/useView";
import { loadProbes } from "../maps/images";
import { sampleEpochs } from "../maps/layout";
import type { Reel } from "../maps/reel";

const MAX_WHOLE_EPOCHS = 400; // of a run whose maps are all loaded, whatever is visible
const NEARBY_EPOCHS = 50; // before and after the selected epoch, of a longer run

/** The reel of a run page: its probes' images, and its maps, the most urgent first. */
export function useRunReel(
  runId: number,
  feed: RunFeed,
  view: View,
  selection: Selection,
  cursor: EpochCursor,
  columnEpochs: ReadonlySignal<number[]>,
): ReadonlySignal<Reel | null> {
  useSignalLayoutEffect(() => {
    const dataset = feed.run.value?.spec.dataset;
    const references = feed.probes.value.map((probe) => probe.image);
    if (dataset && references.length) void loadProbes(runId, dataset, references);
  });
  const classImage = useComputed(() => (view.rows.value === "classes" ? selection.image.value : null));
  const reel = useReel(() => {
    const rows = view.rows.value;
    if (!feed.run.value || (rows === "classes" && !classImage.value)) return null;
    return { runId, methods: [view.methodA.value, view.methodB.value], rows, image: classImage.value };
  });
  useSignalLayoutEffect(() => {
    const { value: current } = reel;
    const last = cursor.last.value;
    const epoch = cursor.epoch.value;
    const visible = columnEpochs.value;
    if (!current || last < 0) return;
    untracked(() => {
      // The last request has the highest priority.
      current.request(last < MAX_WHOLE_EPOCHS ? sampleEpochs(last, 1) : nearbyEpochs(epoch, last));
      current.request(visible);
      current.request([epoch]);
    });
  });
  return reel;
}

function nearbyEpochs(epoch: number, last: number): number[] {
  const first = Math.max(0, epoch - NEARBY_EPOCHS);
  const length = Math.min(last, epoch + NEARBY_EPOCHS) - first + 1;
  return Array.from({ length }, (_, i) => first + i);
}
