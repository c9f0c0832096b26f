import { type ReadonlySignal, useComputed } from "@preact/signals";
import { runName } from "../components/StatusBadge";
import type { Selection } from "../hooks/useSelection";
import type { View } from "../hooks/useView";
import { styleTable } from "../maps/colors";
import type { Line } from "../maps/ReelCanvas";
import { missingReason, unavailableReason } from "../maps/reasons";
import type { Reel } from "../maps/reel";
import { styledMaps } from "../maps/rowMaps";
import { commonScale, type Scale } from "../maps/scale";
import { t } from "../text";
import type { Alignment } from "./useAlignment";
import type { ComparedRun } from "./useComparison";

/** One line per run, all drawn with the same scale, so that their colors can be compared. */
export function useComparedLines(
  runs: ComparedRun[],
  view: View,
  selection: Selection,
  alignment: Alignment,
  reels: ReadonlySignal<Reel[]>,
): ReadonlySignal<Line[]> {
  const key = useComputed(() => selection.image.value ?? ""); // of the row
  const scale = useComputed<Scale | null>(() => {
    for (const { version } of reels.value) void version.value;
    if (view.scale.value === "map") return null;
    return commonScale(reels.value.map((reel) => reel.scale(view.scale.value === "strip" ? key.value : null)));
  });
  return useComputed<Line[]>(() => {
    const style = view.style.value;
    const table = styleTable(style, view.colormap.value);
    const cellStyle = { style, table, scale: scale.value, opacity: view.opacity.value };
    return reels.value.map((reel, index): Line => {
      void reel.version.value;
      const { id, feed, absence } = runs[index]!;
      const run = feed.run.value;
      const last = feed.epochs.value.length - 1;
      const name = run ? runName(run) : `#${id}`;
      const mapAt = styledMaps(reel, key.value, () => cellStyle);
      return {
        key: String(index),
        label: <span class="row-name">{name}</span>,
        description: run ? `${name} #${id}` : name,
        image: selection.image.value ?? "",
        runId: id,
        map: (column) => {
          const epoch = run ? alignment.epochAt(index, column) : 0;
          return absence.value !== null || epoch > last ? null : mapAt(epoch);
        },
        missing: (column) => {
          const epoch = run ? alignment.epochAt(index, column) : 0;
          if (run && epoch > last) return t("compare.ended", { last });
          return absence.value ?? missingReason(reel, key.value, epoch);
        },
        note: absence.value ?? unavailableReason(reel, key.value),
        startsGroup: true,
      };
    });
  });
}
