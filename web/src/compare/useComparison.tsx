import { computed, type ReadonlySignal, useComputed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { recordedMethods } from "../api/catalogue";
import { runName } from "../components/StatusBadge";
import { catalogue, useCatalogue } from "../hooks/useCatalogue";
import { type EpochCursor, useEpochCursor } from "../hooks/useEpochCursor";
import { useLayerMenu } from "../hooks/useLayerMenu";
import { type ReelLayout, useReelLayout } from "../hooks/useReelLayout";
import { type RunFeed, useRunFeeds } from "../hooks/useRunFeed";
import { type Selection, useSelection } from "../hooks/useSelection";
import { useView, type View } from "../hooks/useView";
import { colormaps } from "../maps/colors";
import type { LayerMenu } from "../maps/layers";
import type { Columns, Line } from "../maps/ReelCanvas";
import type { Reel } from "../maps/reel";
import type { Chart } from "../run/charts";
import { t } from "../text";
import { absenceReason } from "./absence";
import { type CommonProbes, commonProbes } from "./commonProbes";
import { type Alignment, useAlignment } from "./useAlignment";
import { useComparedLines } from "./useComparedLines";
import { useComparedReels } from "./useComparedReels";

const MIN_CELL = 40; // CSS pixels

/** One of the compared runs. */
export interface ComparedRun {
  id: number;
  feed: RunFeed;
  absence: ReadonlySignal<string | null>; // why there are no maps of the selected probe
}

/** The state of a comparison's page. */
export interface Comparison {
  runs: ComparedRun[];
  view: View;
  alignment: Alignment;
  common: ReadonlySignal<CommonProbes | null>;
  selection: Selection;
  cursor: EpochCursor; // its epochs are columns
  reelLayout: ReelLayout;
  columns: ReadonlySignal<Columns>;
  reels: ReadonlySignal<Reel[]>; // by run
  lines: ReadonlySignal<Line[]>;
  version: ReadonlySignal<string>;
  layerMenu: ReadonlySignal<LayerMenu>;
  classNames: ReadonlySignal<string[]>; // of the common dataset
  isBusy: ReadonlySignal<boolean>;
  charts: ReadonlySignal<Chart>[];
  x: ReadonlySignal<number[]>;
}

/** Several runs with one cursor, one probe and one scale. */
export function useComparison(ids: number[]): Comparison {
  const feeds = useRunFeeds(ids);
  const view = useView(recordedMethods().at(-1));
  useCatalogue(view);
  const layerMenu = useLayerMenu(view, feeds);
  const alignment = useAlignment(feeds);
  const cursor = useEpochCursor(view.epoch, alignment.last);
  const common = useComputed(() =>
    commonProbes(feeds.map((feed) => ({ dataset: feed.run.value?.spec?.dataset ?? "", probes: feed.probes.value }))),
  );
  const classNames = useComputed(
    () => catalogue.datasets.value.find(({ name }) => name === common.value?.dataset)?.class_names ?? [],
  );
  const probes = useComputed(() => common.value?.probes ?? []);
  const selection = useSelection(view.image, probes);
  const runs = useMemo(
    () =>
      ids.map((id, index): ComparedRun => {
        const feed = feeds[index]!;
        return { id, feed, absence: computed(() => absenceReason(feed, common.value, selection.image.value)) };
      }),
    [],
  );
  const extent = () => {
    const epochs = alignment.last.value + 1;
    return { epochs, plannedEpochs: epochs, lines: ids.length, groups: ids.length };
  };
  const reelLayout = useReelLayout(view, cursor, extent, MIN_CELL);
  const columns = useComputed<Columns>(() => ({ epochs: reelLayout.epochs.value, label: alignment.shortLabel }));
  const reels = useComparedReels(runs, view, selection, alignment, cursor, reelLayout);
  const version = useComputed(() => {
    const signals = [
      ...[selection.image, view.style, view.colormap, view.opacity, view.scale],
      ...[alignment.kind, alignment.last],
    ];
    return [
      ...reels.value.map((reel) => `${reel.selection.method} ${reel.selection.layer} ${reel.version.value}`),
      colormaps.value.length,
      ...signals.map((part) => part.value),
      reelLayout.layout.value.step,
    ].join(" ");
  });
  const x = useComputed(() => Array.from({ length: alignment.last.value + 1 }, (_, column) => column));
  return {
    runs,
    view,
    alignment,
    common,
    selection,
    cursor,
    reelLayout,
    columns,
    reels,
    lines: useComparedLines(runs, view, selection, alignment, reels),
    version,
    layerMenu,
    classNames,
    isBusy: useComputed(() => reels.value.some((reel) => reel.isBusy.value)),
    charts: useComparedCharts(runs, alignment, x),
    x,
  };
}

const MAX_NAME_LENGTH = 24;

const shorten = (name: string): string =>
  name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH - 1)}…` : name;

/** Test loss and test accuracy of the runs that exist, by column. */
function useComparedCharts(
  runs: ComparedRun[],
  alignment: Alignment,
  x: ReadonlySignal<number[]>,
): ReadonlySignal<Chart>[] {
  const curvesOf = (metric: "test_loss" | "test_accuracy") =>
    runs.flatMap(({ id, feed }, index) => {
      const run = feed.run.value;
      if (!run) return [];
      return {
        label: `#${id} ${shorten(runName(run))}`,
        values: x.value.map((column) => feed.epochs.value[alignment.epochAt(index, column)]?.[metric] ?? null),
        color: index,
      };
    });
  const loss = useComputed<Chart>(() => ({ title: t("compare.loss"), unit: "nats", curves: curvesOf("test_loss") }));
  const accuracy = useComputed<Chart>(() => ({
    title: t("compare.accuracy"),
    unit: "share",
    clipsStart: true,
    curves: curvesOf("test_accuracy"),
  }));
  return [loss, accuracy];
}
