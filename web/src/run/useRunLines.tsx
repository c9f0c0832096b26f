import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { AtlasRow } from "../api/types";
import { type View, visibleMethodIndices } from "../hooks/useView";
import { colormaps, styleTable } from "../maps/colors";
import type { Layout } from "../maps/layout";
import { reelTitle } from "../maps/methodTitles";
import type { CellStyle } from "../maps/paint";
import type { Line } from "../maps/ReelCanvas";
import { missingReason, unavailableReason } from "../maps/reasons";
import { type Reel, rowKey } from "../maps/reel";
import { styledMaps } from "../maps/rowMaps";
import type { DrawStyle } from "../maps/scale";
import { t } from "../text";
import { imageName } from "./imageName";
import type { Preview } from "./PreviewPanel";
import { RowLabel } from "./RowLabel";
import { lineKey, type RowSelection } from "./useRowSelection";
import type { RunReels } from "./useRunReels";

/** How a row's cells are drawn by the view's scale and colormap. */
function cellStyle(view: View, reel: Reel, key: string, style: DrawStyle): CellStyle {
  const scale = view.scale.value;
  return {
    style,
    table: styleTable(style, view.colormap.value),
    scale: scale === "map" ? null : reel.scale(scale === "strip" ? key : null),
    opacity: view.opacity.value,
  };
}

/** The maps of a row by a method, which change with the reel's version. */
function rowMaps(view: View, reel: Reel, key: string, style: DrawStyle = view.style.value) {
  void reel.version.value;
  return styledMaps(reel, key, (source) => cellStyle(view, source, key, style));
}

/** The reel's lines: one per row and shown method. */
export function useRunLines(runId: number, view: View, { reels, rows }: RunReels): ReadonlySignal<Line[]> {
  return useComputed<Line[]>(() => {
    const methods = visibleMethodIndices(view.visibleMethods.value);
    const isPair = methods.length > 1;
    const isByClass = view.rows.value === "classes";
    const lineOf = (row: AtlasRow, method: number, position: number): Line => {
      const reel = reels.value[method]!;
      const key = rowKey(view.rows.value, row);
      return {
        key: lineKey(row, method),
        label: <RowLabel {...{ row, runId, method, isPair, isByClass }} isFirst={position === 0} />,
        description: [imageName(row.image), t("row.class", { name: row.class_name }), reelTitle(reel)].join(", "),
        image: row.image,
        runId,
        map: rowMaps(view, reel, key),
        missing: (epoch) => missingReason(reel, key, epoch),
        note: unavailableReason(reel, key),
        startsGroup: isPair && position === 0,
      };
    };
    return rows.value.flatMap((row) => methods.map((method, position) => lineOf(row, method, position)));
  });
}

/**
 * The previews of the selected row at the selected epoch: one per shown method, and one of the selected method in
 * another style, its overlay or the map alone.
 */
export function usePreviews(
  view: View,
  { reels }: RunReels,
  rowSelection: RowSelection,
  epoch: ReadonlySignal<number>,
): ReadonlySignal<Preview[]> {
  return useComputed<Preview[]>(() => {
    const { value: row } = rowSelection.row;
    const preview = (method: number, style: DrawStyle, styleName = ""): Preview[] => {
      const reel = reels.value[method];
      if (!reel) return [];
      void reel.version.value;
      const key = row ? rowKey(view.rows.value, row) : "";
      return [
        {
          title: [reelTitle(reel), styleName].filter(Boolean).join(", "),
          map: rowMaps(view, reel, key, style)(epoch.value),
          missing: missingReason(reel, key, epoch.value),
        },
      ];
    };
    const methods = visibleMethodIndices(view.visibleMethods.value);
    const otherMethod = rowSelection.method.value ?? methods.at(-1)!;
    const otherStyle: DrawStyle = view.style.value === "overlay" ? "heatmap" : "overlay";
    return [
      ...methods.flatMap((method) => preview(method, view.style.value)),
      ...preview(otherMethod, otherStyle, t(`style.${otherStyle}`)),
    ];
  });
}

/** Changes with everything that the pictures of the reel depend on besides its lines. */
export function useReelVersion(
  view: View,
  image: ReadonlySignal<string | null>,
  { reels }: RunReels,
  layout: ReadonlySignal<Layout>,
): ReadonlySignal<string> {
  return useComputed(() => {
    const signals = [view.style, view.colormap, view.opacity, view.scale, view.rows, view.visibleMethods, image];
    return [
      ...signals.map((part) => part.value),
      colormaps.value.length,
      ...reels.value.map((reel) => `${reel.selection.method} ${reel.selection.layer} ${reel.version.value}`),
      layout.value.step,
    ].join(" ");
  });
}
