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
import { shownImages, useComparedLines } from "./useComparedLines";
import { useComparedReels } from "./useComparedReels";
import { type CompareOptions, useCompareOptions } from "./useCompareOptions";

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
  reels: ReadonlySignal<Reel[]>; // by run, of each one per method
  methodCount: ReadonlySignal<number>;
  options: CompareOptions;
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
  const options = useCompareOptions();
  const extent = () => {
    const epochs = alignment.last.value + 1;
    const perProbe = ids.length * (options.showsDifferences.value ? 2 : 1) * (options.isPair.value ? 2 : 1);
    const lines = perProbe * shownImages({ options, common, selection }).length;
    return { epochs, plannedEpochs: epochs, lines, groups: lines };
  };
  const reelLayout = useReelLayout(view, cursor, extent, MIN_CELL);
  const columns = useComputed<Columns>(() => ({ epochs: reelLayout.epochs.value, label: alignment.shortLabel }));
  const comparedReels = useComparedReels(runs, view, selection, alignment, options, cursor, () => reelLayout);
  const { reels, methodCount } = comparedReels;
  const version = useComputed(() => {
    const signals = [
      ...[selection.image, view.style, view.colormap, view.opacity, view.scale],
      ...[alignment.kind, alignment.last],
      ...[options.showsAllProbes, options.showsDifferences, options.isPair],
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
    methodCount,
    options,
    lines: useComparedLines({ runs, view, selection, alignment, options, common, reels: comparedReels }),
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

type Metric = "test_loss" | "test_accuracy" | "train_loss" | "train_accuracy" | "learning_rate";

/** The curves of the runs that exist, by column: a chart per metric. */
function useComparedCharts(
  runs: ComparedRun[],
  alignment: Alignment,
  x: ReadonlySignal<number[]>,
): ReadonlySignal<Chart>[] {
  const source = { runs, alignment, x };
  return [
    useMetricChart(source, "compare.loss", "test_loss", "nats"),
    useMetricChart(source, "compare.accuracy", "test_accuracy", "share"),
    useMetricChart(source, "compare.trainLoss", "train_loss", "nats"),
    useMetricChart(source, "compare.trainAccuracy", "train_accuracy", "share"),
    useMetricChart(source, "compare.rate", "learning_rate", "rate"),
  ];
}

interface ChartSource {
  runs: ComparedRun[];
  alignment: Alignment;
  x: ReadonlySignal<number[]>;
}

function useMetricChart(
  { runs, alignment, x }: ChartSource,
  title: Parameters<typeof t>[0],
  metric: Metric,
  unit: Chart["unit"],
): ReadonlySignal<Chart> {
  return useComputed<Chart>(() => ({
    title: t(title),
    unit,
    clipsStart: unit === "share",
    curves: runs.flatMap(({ id, feed }, index) => {
      const run = feed.run.value;
      if (!run) return [];
      return {
        label: `#${id} ${shorten(runName(run))}`,
        values: x.value.map((column) => feed.epochs.value[alignment.epochAt(index, column)]?.[metric] ?? null),
        color: index,
      };
    }),
  }));
}
