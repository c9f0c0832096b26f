import { type ReadonlySignal, untracked, useComputed } from "@preact/signals";
import { recordedMethods } from "../api/catalogue";
import type { Probe } from "../api/types";
import { runName } from "../components/StatusBadge";
import { useCatalogue } from "../hooks/useCatalogue";
import { type EpochCursor, useEpochCursor } from "../hooks/useEpochCursor";
import { useReels } from "../hooks/useReel";
import { type ReelLayout, useReelLayout } from "../hooks/useReelLayout";
import { type RunFeed, useRunFeeds } from "../hooks/useRunFeed";
import { type Selection, useSelection } from "../hooks/useSelection";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { useView, type View } from "../hooks/useView";
import { colormaps, styleTable } from "../maps/colors";
import type { Columns, Line } from "../maps/ReelCanvas";
import type { Reel } from "../maps/reel";
import { commonScale, type Scale } from "../maps/scale";
import type { Chart } from "../run/charts";
import { t } from "../text";
import { type Alignment, useAlignment } from "./useAlignment";

const MIN_CELL = 40; // CSS pixels

/** The state of a comparison's page. */
export interface Comparison {
  feeds: RunFeed[];
  view: View;
  alignment: Alignment;
  commonProbes: ReadonlySignal<Probe[]>;
  selection: Selection;
  cursor: EpochCursor; // its epochs are columns
  reelLayout: ReelLayout;
  columns: ReadonlySignal<Columns>;
  lines: ReadonlySignal<Line[]>;
  version: ReadonlySignal<string>;
  isBusy: ReadonlySignal<boolean>;
  charts: ReadonlySignal<Chart>[];
  x: ReadonlySignal<number[]>;
}

/** Several runs with one cursor, one probe and one scale. */
export function useComparison(ids: number[]): Comparison {
  const feeds = useRunFeeds(ids);
  const view = useView(recordedMethods().at(-1));
  useCatalogue(view);
  const alignment = useAlignment(feeds);
  const cursor = useEpochCursor(view.epoch, alignment.last);
  const commonProbes = useCommonProbes(feeds);
  const selection = useSelection(view.image, commonProbes);
  const extent = () => {
    const epochs = alignment.last.value + 1;
    return { epochs, plannedEpochs: epochs, lines: ids.length, groups: ids.length };
  };
  const reelLayout = useReelLayout(view, cursor, extent, MIN_CELL);
  const columns = useComputed<Columns>(() => ({ epochs: reelLayout.epochs.value, label: alignment.shortLabel }));
  const reels = useComparedReels(ids, feeds, view, selection, alignment, cursor, reelLayout);
  const versions = useComputed(() => reels.value.map((reel) => reel.version.value).join());
  const version = useComputed(() => {
    const signals = [
      selection.image,
      view.style,
      view.colormap,
      view.opacity,
      view.scale,
      alignment.kind,
      alignment.last,
    ];
    const { step } = reelLayout.layout.value;
    return [versions.value, colormaps.value.length, ...signals.map((part) => part.value), step].join(" ");
  });
  const x = useComputed(() => Array.from({ length: alignment.last.value + 1 }, (_, column) => column));
  return {
    feeds,
    view,
    alignment,
    commonProbes,
    selection,
    cursor,
    reelLayout,
    columns,
    lines: useComparedLines(feeds, view, selection, alignment, reels, versions),
    version,
    isBusy: useComputed(() => reels.value.some((reel) => reel.isBusy.value)),
    charts: useComparedCharts(feeds, ids, alignment, x),
    x,
  };
}

/** The probes that all runs have in common, apart from runs that have none yet. */
function useCommonProbes(feeds: RunFeed[]): ReadonlySignal<Probe[]> {
  return useComputed(() => {
    // The same reference in another dataset is another image.
    if (new Set(feeds.map((feed) => feed.run.value?.spec.dataset)).size > 1) return [];
    const [first = [], ...rest] = feeds.map((feed) => feed.probes.value).filter((probes) => probes.length);
    const isCommon = ({ image }: Probe) => rest.every((probes) => probes.some((probe) => probe.image === image));
    return first.filter(isCommon);
  });
}

const lastEpoch = (feed: RunFeed): number => feed.epochs.value.length - 1;

/** One reel per run, with the maps of all columns, those at the cursor first. */
function useComparedReels(
  ids: number[],
  feeds: RunFeed[],
  view: View,
  selection: Selection,
  alignment: Alignment,
  cursor: EpochCursor,
  reelLayout: ReelLayout,
): ReadonlySignal<Reel[]> {
  // All probes if the scale covers all of them, else only the selected one.
  const image = useComputed(() => (view.scale.value === "run" ? null : selection.image.value));
  const reels = useReels(() =>
    ids.map((runId) => ({ runId, methods: [view.methodA.value], rows: "probes", image: image.value })),
  );
  useSignalLayoutEffect(() => {
    const columns = reelLayout.epochs.value;
    const current = cursor.epoch.value;
    reels.value.forEach((reel, run) => {
      const last = lastEpoch(feeds[run]!);
      const epochsOf = (selected: number[]) =>
        [...new Set(selected.map((column) => alignment.epochAt(run, column)))].filter((epoch) => epoch <= last);
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

const probeRow = (reel: Reel, image: string | null): number => reel.rows.findIndex((row) => row.image === image);

/** One line per run, all drawn with the same scale, so that their colors can be compared. */
function useComparedLines(
  feeds: RunFeed[],
  view: View,
  selection: Selection,
  alignment: Alignment,
  reels: ReadonlySignal<Reel[]>,
  versions: ReadonlySignal<string>,
): ReadonlySignal<Line[]> {
  const scale = useComputed<Scale | null>(() => {
    void versions.value;
    if (view.scale.value === "map") return null;
    const rowOf = (reel: Reel) => (view.scale.value === "strip" ? probeRow(reel, selection.image.value) : null);
    const loaded = reels.value.filter((reel) => reel.rows.length && rowOf(reel) !== -1);
    return commonScale(loaded.map((reel) => reel.scale(0, rowOf(reel))));
  });
  return useComputed<Line[]>(() => {
    void versions.value;
    const style = view.style.value;
    const cellStyle = {
      style,
      table: styleTable(style, view.colormap.value),
      scale: scale.value,
      opacity: view.opacity.value,
    };
    return reels.value.flatMap((reel, index) => {
      const feed = feeds[index]!;
      const run = feed.run.value;
      if (!run) return [];
      const row = probeRow(reel, selection.image.value);
      const last = lastEpoch(feed);
      return {
        key: String(index),
        label: <span class="row-name">{runName(run)}</span>,
        description: `${runName(run)} #${run.id}`,
        image: selection.image.value ?? "",
        dataset: run.spec.dataset,
        geometry: reel.geometry,
        style: cellStyle,
        cell: (column: number) => {
          const epoch = alignment.epochAt(index, column);
          return row < 0 || epoch > last ? null : reel.cell(0, row, epoch);
        },
        startsGroup: true,
      };
    });
  });
}

const MAX_NAME_LENGTH = 24;

const shorten = (name: string): string =>
  name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH - 1)}…` : name;

/** Test loss and test accuracy of all runs, by column. */
function useComparedCharts(
  feeds: RunFeed[],
  ids: number[],
  alignment: Alignment,
  x: ReadonlySignal<number[]>,
): ReadonlySignal<Chart>[] {
  const curvesOf = (metric: "test_loss" | "test_accuracy") =>
    feeds.map((feed, run) => ({
      label: `#${ids[run]} ${shorten(feed.run.value ? runName(feed.run.value) : "")}`,
      values: x.value.map((column) => feed.epochs.value[alignment.epochAt(run, column)]?.[metric] ?? null),
      color: run,
    }));
  const loss = useComputed<Chart>(() => ({ title: t("compare.loss"), unit: "nats", curves: curvesOf("test_loss") }));
  const accuracy = useComputed<Chart>(() => ({
    title: t("compare.accuracy"),
    unit: "share",
    curves: curvesOf("test_accuracy"),
  }));
  return [loss, accuracy];
}
