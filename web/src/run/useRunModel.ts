import { batch, type ReadonlySignal, useComputed } from "@preact/signals";
import type { AtlasRow, Run } from "../api/types";
import { useCatalogue } from "../hooks/useCatalogue";
import { type EpochCursor, useEpochCursor } from "../hooks/useEpochCursor";
import { useLayerMenu } from "../hooks/useLayerMenu";
import { type ReelLayout, useReelLayout } from "../hooks/useReelLayout";
import { type RunFeed, useRunFeed } from "../hooks/useRunFeed";
import { useSelection } from "../hooks/useSelection";
import { useView, type View, visibleMethodIndices } from "../hooks/useView";
import type { LayerMenu } from "../maps/layers";
import type { Columns, Line } from "../maps/ReelCanvas";
import { type Chart, useRunCharts } from "./charts";
import type { Preview } from "./PreviewPanel";
import { useBlankShares } from "./useBlankShares";
import { usePeakChart } from "./usePeakChart";
import { type RowSelection, useRowSelection } from "./useRowSelection";
import { usePreviews, useReelVersion, useRunLines } from "./useRunLines";
import { type RunReels, useRunReels } from "./useRunReels";
import { type ClassScores, useScores } from "./useScores";

const MAX_PLANNED_COLUMNS = 20; // for which space is left before their epochs are recorded

/** The state of a run's page. */
export interface RunModel {
  feed: RunFeed;
  view: View;
  cursor: EpochCursor;
  image: ReadonlySignal<string | null>; // reference of the selected image
  row: ReadonlySignal<AtlasRow | null>;
  rowSelection: RowSelection;
  scores: ClassScores;
  runReels: RunReels;
  reelLayout: ReelLayout;
  reelVersion: ReadonlySignal<string>;
  lines: ReadonlySignal<Line[]>;
  columns: ReadonlySignal<Columns>;
  previews: ReadonlySignal<Preview[]>;
  charts: readonly ReadonlySignal<Chart>[];
  epochs: ReadonlySignal<number[]>;
  layerMenu: ReadonlySignal<LayerMenu>;
  select: (epoch: number, line: Line) => void;
}

export function useRunModel(id: number): RunModel {
  const feed = useRunFeed(id);
  const view = useView();
  useCatalogue(view);
  const epochs = useComputed(() => feed.epochs.value.map((epoch) => epoch.epoch));
  const last = useComputed(() => feed.epochs.value.length - 1);
  const cursor = useEpochCursor(view.epoch, last);
  const layerMenu = useLayerMenu(view, [feed]);
  const selection = useSelection(view.image, feed.probes, () => view.rows.value === "classes");
  const scores = useScores(id, selection.image, cursor.epoch, last);
  const reelLayout = useReelLayout(view, cursor, () => {
    const planned = Math.min(MAX_PLANNED_COLUMNS, feed.run.value?.epochs_total ?? MAX_PLANNED_COLUMNS);
    const rows = view.rows.value === "probes" ? feed.probes.value.length : scores.classNames.value.length;
    const methods = visibleMethodIndices(view.visibleMethods.value).length;
    return {
      epochs: Math.max(1, last.value + 1),
      plannedEpochs: planned,
      lines: rows * methods,
      groups: methods > 1 ? rows : 1,
    };
  });
  const columns = useComputed<Columns>(() => ({ epochs: reelLayout.epochs.value, label: String }));
  const runReels = useRunReels(id, feed, view, selection, cursor, reelLayout.epochs);
  const rowSelection = useRowSelection(view, selection, runReels.rows, scores, last);
  const lines = useRunLines(id, view, runReels);
  const peaks = usePeakChart(view, lines, rowSelection.row, epochs);
  const blankShares = useBlankShares(id, () => [view.methodA.value, view.methodB.value], last);
  return {
    feed,
    view,
    cursor,
    image: selection.image,
    row: rowSelection.row,
    rowSelection,
    scores,
    runReels,
    reelLayout,
    reelVersion: useReelVersion(view, selection.image, runReels, reelLayout.layout),
    lines,
    columns,
    previews: usePreviews(view, runReels, rowSelection, cursor.epoch),
    charts: useRunCharts(feed.epochs, scores.classNames, peaks, blankShares, () => dropoutOf(feed.run.value)),
    epochs,
    layerMenu,
    select: (epoch, line) =>
      batch(() => {
        cursor.seek(epoch);
        rowSelection.select(line);
      }),
  };
}

/** The dropout rate of a run's network, 0 to 1. */
function dropoutOf(run: Run | null): number {
  const architecture = run?.spec?.architecture as { dropout?: number } | undefined;
  return architecture?.dropout ?? 0;
}
