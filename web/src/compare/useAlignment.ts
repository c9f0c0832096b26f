import { type ReadonlySignal, type Signal, useComputed, useSignal } from "@preact/signals";
import type { RunFeed } from "../hooks/useRunFeed";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { replaceSearchParams, searchParams } from "../navigation";
import { number, t } from "../text";

export type AlignmentKind = "epochs" | "images";

/** How the runs' epochs lie on common columns. */
export interface Alignment {
  kind: Signal<AlignmentKind>;
  last: ReadonlySignal<number>; // column
  epochAt: (run: number, column: number) => number; // by index of the run
  label: (column: number) => string;
  shortLabel: (column: number) => string;
}

const parseKind = (text: string | null): AlignmentKind => (text === "images" ? "images" : "epochs");

/** Aligns runs by epochs, or by the number of images that they have seen; the URL holds which. */
export function useAlignment(feeds: RunFeed[]): Alignment {
  const kind = useSignal(parseKind(searchParams.peek().get("align")));
  useSignalLayoutEffect(() => replaceSearchParams({ align: kind.value === "images" ? "images" : null }));

  // Infinite for a run that is not known, which has no epochs.
  const imagesPerEpoch = useComputed(() => feeds.map((feed) => feed.run.value?.spec?.samples_per_epoch ?? Infinity));
  // Aligned by images, a column is as many images as the run with the smallest epochs sees in one epoch.
  const imagesPerColumn = useComputed(() => (kind.value === "images" ? Math.min(...imagesPerEpoch.value) : null));
  const last = useComputed(() => {
    const lastColumns = feeds.map((feed, run) => {
      const epoch = feed.epochs.value.length - 1;
      if (epoch < 0) return 0;
      if (imagesPerColumn.value === null) return epoch;
      return Math.floor((epoch * imagesPerEpoch.value[run]!) / imagesPerColumn.value);
    });
    return Math.max(0, ...lastColumns);
  });
  return {
    kind,
    last,
    epochAt: (run, column) => {
      if (imagesPerColumn.value === null) return column;
      return Math.floor((column * imagesPerColumn.value) / imagesPerEpoch.value[run]!);
    },
    label: (column) => {
      if (imagesPerColumn.value === null) return t("scrubber.at", { epoch: column });
      return t("compare.seen", { images: number(column * imagesPerColumn.value) });
    },
    shortLabel: (column) => {
      if (imagesPerColumn.value === null) return String(column);
      return `${number((column * imagesPerColumn.value) / 1000)}k`;
    },
  };
}
