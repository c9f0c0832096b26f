import { type ReadonlySignal, useComputed } from "@preact/signals";
import { runName } from "../components/StatusBadge";
import type { Selection } from "../hooks/useSelection";
import type { View } from "../hooks/useView";
import { styleTable } from "../maps/colors";
import { reelTitle } from "../maps/methodTitles";
import type { Line } from "../maps/ReelCanvas";
import { missingReason, unavailableReason } from "../maps/reasons";
import type { Reel } from "../maps/reel";
import { styledMaps } from "../maps/rowMaps";
import { commonScale, type Scale } from "../maps/scale";
import { t } from "../text";
import type { CommonProbes } from "./commonProbes";
import { differenceMap } from "./differenceMaps";
import type { Alignment } from "./useAlignment";
import type { ComparedReels } from "./useComparedReels";
import type { CompareOptions } from "./useCompareOptions";
import type { ComparedRun } from "./useComparison";

const MAX_LABEL = 16; // characters of a name; a longer one would be cut off where names differ

interface Source {
  runs: ComparedRun[];
  view: View;
  selection: Selection;
  alignment: Alignment;
  options: CompareOptions;
  common: ReadonlySignal<CommonProbes | null>;
  reels: ComparedReels;
}

/** The references of the probes that are shown, each with its lines. */
export const shownImages = ({
  options,
  common,
  selection,
}: Pick<Source, "options" | "common" | "selection">): string[] =>
  options.showsAllProbes.value ? (common.value?.probes.map(({ image }) => image) ?? []) : [selection.image.value ?? ""];

/**
 * By probe, a line per run and method, then those of the differences. Lines of one probe have the same scale, so that
 * their colors can be compared.
 */
export function useComparedLines(source: Source): ReadonlySignal<Line[]> {
  const { view, reels, options } = source;
  return useComputed<Line[]>(() => {
    const methodCount = reels.methodCount.value;
    return shownImages(source).flatMap((image) => {
      const scale = sharedScale(view, reels.reels.value, image);
      const lines = reels.reels.value.map((reel, index) => mapLine(source, reel, index, image, scale));
      const differences = options.showsDifferences.value
        ? lines.slice(methodCount).map((line, index) => differenceLine(line, lines[index % methodCount]!))
        : [];
      return [...lines, ...differences].map((line, index) => ({
        ...line,
        startsGroup: index === 0 || methodCount === 1,
      }));
    });
  });
}

function sharedScale(view: View, reels: Reel[], image: string): Scale | null {
  for (const { version } of reels) void version.value;
  if (view.scale.value === "map") return null;
  return commonScale(reels.map((reel) => reel.scale(view.scale.value === "strip" ? image : null)));
}

function mapLine(source: Source, reel: Reel, index: number, image: string, scale: Scale | null): Line {
  const { runs, view, alignment, options, reels } = source;
  const methodCount = reels.methodCount.value;
  const runIndex = Math.floor(index / methodCount);
  const { id, feed, absence } = runs[runIndex]!;
  const style = view.style.value;
  const cellStyle = { style, table: styleTable(style, view.colormap.value), scale, opacity: view.opacity.value };
  const run = feed.run.value;
  const last = feed.epochs.value.length - 1;
  const name = run ? runName(run) : `#${id}`;
  const mapAt = styledMaps(reel, image, () => cellStyle);
  const epochAt = (column: number) => (run ? alignment.epochAt(runIndex, column) : 0);
  const parts = [
    name.length > MAX_LABEL ? `#${id}` : name,
    ...(options.showsAllProbes.value ? [image] : []),
    ...(methodCount > 1 ? [reelTitle(reel)] : []),
  ];
  return {
    key: `${image} ${index}`,
    label: <span class="row-name">{parts.join(" · ")}</span>,
    description: [run ? `${name} #${id}` : name, ...parts.slice(1)].join(", "),
    image,
    runId: id,
    map: (column) => (absence.value !== null || epochAt(column) > last ? null : mapAt(epochAt(column))),
    missing: (column) => {
      if (run && epochAt(column) > last) return t("compare.ended", { last });
      return absence.value ?? missingReason(reel, image, epochAt(column));
    },
    note: absence.value ?? unavailableReason(reel, image),
    startsGroup: true,
  };
}

/** The maps of a line less those of a line of the first run. */
function differenceLine(line: Line, reference: Line): Line {
  const table = styleTable("signed", "");
  const [map, first] = [line.map(0), reference.map(0)];
  const hasOtherPositions = map && first && !differenceMap(map, first, table);
  return {
    ...line,
    key: `${line.key} difference`,
    label: (
      <>
        <span aria-hidden="true">−</span> {line.label}
      </>
    ),
    description: t("compare.difference", { name: line.description }),
    map: (column) => {
      const [other, base] = [line.map(column), reference.map(column)];
      return other && base && differenceMap(other, base, table);
    },
    missing: (column) =>
      line.map(column) && reference.map(column) ? t("compare.otherPositions") : line.missing(column),
    note: line.note ?? (hasOtherPositions ? t("compare.otherPositions") : null),
  };
}
