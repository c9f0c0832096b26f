import { type ReadonlySignal, untracked, useComputed } from "@preact/signals";
import type { AtlasRow } from "../api/types";
import { requestedLayers } from "../hooks/useCatalogue";
import type { EpochCursor } from "../hooks/useEpochCursor";
import { useReels } from "../hooks/useReels";
import type { RunFeed } from "../hooks/useRunFeed";
import type { Selection } from "../hooks/useSelection";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import type { View } from "../hooks/useView";
import { loadProbes } from "../maps/images";
import { sampleEpochs } from "../maps/layout";
import type { Reel } from "../maps/reel";
import { mergeRows } from "../maps/rowMaps";

const MAX_WHOLE_EPOCHS = 400; // of a run whose maps are all loaded, whatever is visible
const NEARBY_EPOCHS = 50; // before and after the selected epoch, of a longer run

export interface RunReels {
  reels: ReadonlySignal<Reel[]>; // of methods A and B; none before the run is known
  rows: ReadonlySignal<AtlasRow[]>; // of both
}

/** The reels of a run page: its probes' images, and the maps of its two methods, the most urgent first. */
export function useRunReels(
  runId: number,
  feed: RunFeed,
  view: View,
  selection: Selection,
  cursor: EpochCursor,
  columnEpochs: ReadonlySignal<number[]>,
): RunReels {
  useSignalLayoutEffect(() => {
    const references = feed.probes.value.map((probe) => probe.image);
    if (references.length) void loadProbes(runId, references);
  });
  const classImage = useComputed(() => (view.rows.value === "classes" ? selection.image.value : null));
  const reels = useReels(() => {
    const { value: rows } = view.rows;
    const { value: image } = classImage;
    if (!feed.run.value || (rows === "classes" && !image)) return null;
    const layers = requestedLayers(view);
    return [view.methodA.value, view.methodB.value].map((method, side) => ({
      ...{ runId, method, rows, image },
      layer: layers[side]!,
    }));
  });
  useSignalLayoutEffect(() => {
    const last = cursor.last.value;
    const epoch = cursor.epoch.value;
    const visible = columnEpochs.value;
    if (last < 0) return;
    for (const reel of reels.value) {
      untracked(() => {
        // The last request has the highest priority.
        reel.request(last < MAX_WHOLE_EPOCHS ? sampleEpochs(last, 1) : nearbyEpochs(epoch, last));
        reel.request(visible);
        reel.request([epoch]);
      });
    }
  });
  const rows = useComputed(() => {
    const probes = feed.probes.value.map((probe) => probe.image);
    return mergeRows(view.rows.value, reels.value.map(shownRows), probes);
  });
  return { reels, rows };
}

/** The rows of a reel, or before they are loaded, of the reel that it replaces, if they are the same. */
function shownRows(reel: Reel): AtlasRow[] {
  void reel.version.value;
  const { predecessor, selection } = reel;
  if (reel.rows.length || predecessor?.selection.rows !== selection.rows) return reel.rows;
  return predecessor.selection.image === selection.image ? predecessor.rows : [];
}

function nearbyEpochs(epoch: number, last: number): number[] {
  const first = Math.max(0, epoch - NEARBY_EPOCHS);
  const length = Math.min(last, epoch + NEARBY_EPOCHS) - first + 1;
  return Array.from({ length }, (_, i) => first + i);
}
