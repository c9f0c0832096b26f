import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { RunFeed } from "../hooks/useRunFeed";
import { type View, visibleMethodIndices } from "../hooks/useView";
import { colormaps, styleTable } from "../maps/colors";
import type { Layout } from "../maps/layout";
import type { CellStyle } from "../maps/paint";
import type { Line } from "../maps/ReelCanvas";
import type { Reel } from "../maps/reel";
import type { DrawStyle } from "../maps/scale";
import { t } from "../text";
import { imageName } from "./imageName";
import type { Preview } from "./PreviewPanel";
import { RowLabel } from "./RowLabel";
import { lineKey, type RowSelection } from "./useRowSelection";

/** How a cell of a row is drawn by the view's style, scale and colormap. */
function cellStyle(
  view: View,
  reel: Reel,
  method: number,
  row: number,
  style: DrawStyle = view.style.value,
): CellStyle {
  const scale = view.scale.value;
  return {
    style,
    table: styleTable(style, view.colormap.value),
    scale: scale === "map" ? null : reel.scale(method, scale === "strip" ? row : null),
    opacity: view.opacity.value,
  };
}

/** The reel's lines: one per row and shown method. */
export function useRunLines(feed: RunFeed, view: View, reel: ReadonlySignal<Reel | null>): ReadonlySignal<Line[]> {
  return useComputed<Line[]>(() => {
    const current = reel.value;
    if (!current) return [];
    void current.version.value;
    const methods = visibleMethodIndices(view.visibleMethods.value);
    const { dataset } = feed.run.value!.spec;
    const isPair = methods.length > 1;
    const isByClass = view.rows.value === "classes";
    return current.rows.flatMap((row, rowIndex) =>
      methods.map(
        (method, position): Line => ({
          key: lineKey(row, method),
          label: <RowLabel {...{ row, dataset, method, isPair, isByClass }} isFirst={position === 0} />,
          description: [imageName(row.image), t("row.class", { name: row.class_name }), current.methods[method]].join(
            ", ",
          ),
          image: row.image,
          dataset,
          geometry: current.geometry,
          style: cellStyle(view, current, method, rowIndex),
          cell: (epoch) => current.cell(method, rowIndex, epoch),
          startsGroup: isPair && position === 0,
        }),
      ),
    );
  });
}

/**
 * The previews of the selected row at the selected epoch: one per shown method, and one of the selected method in
 * another style, its overlay or the map alone.
 */
export function usePreviews(
  view: View,
  reel: ReadonlySignal<Reel | null>,
  rowSelection: RowSelection,
  epoch: ReadonlySignal<number>,
): ReadonlySignal<Preview[]> {
  return useComputed<Preview[]>(() => {
    const current = reel.value;
    if (!current) return [];
    void current.version.value;
    const row = rowSelection.index.value;
    const preview = (method: number, style: DrawStyle, title: string): Preview => ({
      title,
      cell: current.cell(method, row, epoch.value),
      geometry: current.geometry,
      style: cellStyle(view, current, method, row, style),
    });
    const title = (method: number) => current.methods[method] ?? "";
    const methods = visibleMethodIndices(view.visibleMethods.value);
    const otherMethod = rowSelection.method.value ?? methods.at(-1)!;
    const otherStyle: DrawStyle = view.style.value === "overlay" ? "heatmap" : "overlay";
    return [
      ...methods.map((method) => preview(method, view.style.value, title(method))),
      preview(otherMethod, otherStyle, `${title(otherMethod)}, ${t(`style.${otherStyle}`)}`),
    ];
  });
}

/** Changes with everything that the pictures of the reel depend on besides its lines. */
export function useReelVersion(
  view: View,
  image: ReadonlySignal<string | null>,
  reel: ReadonlySignal<Reel | null>,
  layout: ReadonlySignal<Layout>,
): ReadonlySignal<string> {
  return useComputed(() => {
    const signals = [view.style, view.colormap, view.opacity, view.scale, view.rows, view.visibleMethods, image];
    const { value: current } = reel;
    return [
      ...signals.map((part) => part.value),
      colormaps.value.length,
      current?.version.value,
      current?.methods.join(),
      layout.value.step,
    ].join(" ");
  });
}
