import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { AtlasRow } from "../api/types";
import { requestedLayers } from "../hooks/useCatalogue";
import { type View, visibleMethodIndices } from "../hooks/useView";
import { specTitle } from "../maps/methodTitles";
import type { Line } from "../maps/ReelCanvas";
import { t } from "../text";
import type { Chart, Curve } from "./charts";
import { imageName } from "./imageName";
import { lineKey } from "./useRowSelection";

/** The peaks of the selected row's maps at the epochs whose maps are loaded, one curve per visible method. */
export function usePeakChart(
  view: View,
  lines: ReadonlySignal<Line[]>,
  selectedRow: ReadonlySignal<AtlasRow | null>,
  epochs: ReadonlySignal<number[]>,
): ReadonlySignal<Chart> {
  return useComputed<Chart>(() => {
    const row = selectedRow.value;
    const methods = [view.methodA.value, view.methodB.value];
    const layers = requestedLayers(view);
    const curves = visibleMethodIndices(view.visibleMethods.value).flatMap((method): Curve[] => {
      const line = row && lines.value.find((candidate) => candidate.key === lineKey(row, method));
      return line
        ? [{ label: specTitle(methods[method]!, layers[method]), color: method, ...peaksOf(line, epochs.value) }]
        : [];
    });
    const subject = row ? { image: imageName(row.image), name: row.class_name } : { image: "", name: "" };
    return { title: t("curves.peak", subject), note: t("curves.peak.note"), unit: "peak", curves };
  });
}

function peaksOf(line: Line, epochs: number[]): Pick<Curve, "values" | "blanks"> {
  const cells = epochs.map((epoch) => {
    const map = line.map(epoch);
    return map && !map.isOutdated ? map.cell : null;
  });
  return {
    values: cells.map((cell) => (cell ? (cell.blank === "none" ? cell.peak : null) : undefined)),
    blanks: cells.map((cell) => (cell && cell.blank !== "none" ? cell.blank : null)),
  };
}
