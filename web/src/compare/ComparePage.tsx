// Two to six runs with one scrubber: the same probe and scale, aligned by epochs or by images seen.

import { useComputed, useSignal } from "@preact/signals";
import { Failure, Loading } from "../components/Failure";
import { ReelCanvas } from "../maps/ReelCanvas";
import { Curves } from "../run/Curves";
import { Options } from "../run/Options";
import { Scrubber } from "../run/Scrubber";
import { useShortcuts } from "../run/useShortcuts";
import { t } from "../text";
import { DifferenceTable } from "./DifferenceTable";
import { RunPicker } from "./RunPicker";
import type { AlignmentKind } from "./useAlignment";
import { type Comparison, useComparison } from "./useComparison";

export function ComparePage({ ids }: { ids: number[] }) {
  const comparison = useComparison(ids);
  const { feeds, view, cursor, selection, reelLayout, isBusy } = comparison;
  useShortcuts({
    view,
    cursor: { ...cursor, toggleFollowing: () => {} }, // runs that have ended have no latest epoch to follow
    stepRow: selection.step,
    zoom: reelLayout.zoom,
  });
  document.title = `${t("compare.title")} – Camreel`;
  const isLoaded = feeds.every((feed) => feed.run.value);
  return (
    <main class="compare" id="content" aria-busy={isBusy.value}>
      <h1>{t("compare.title")}</h1>
      <RunPicker ids={ids} />
      {feeds.map(
        (feed, index) =>
          feed.failure.value && <Failure key={ids[index]} error={feed.failure.value} retry={feed.refresh} />,
      )}
      {ids.length < 2 && <p class="muted">{t("compare.few")}</p>}
      {ids.length >= 2 && (isLoaded ? <ComparisonContent comparison={comparison} /> : <Loading />)}
    </main>
  );
}

function ComparisonContent({ comparison }: { comparison: Comparison }) {
  const { feeds, view, alignment, cursor, columns, reelLayout } = comparison;
  const cellSize = useComputed(() => reelLayout.layout.value.cell);
  const selectedKey = useSignal("");
  const runs = feeds.map((feed) => feed.run.value!);
  const isWaiting = runs.some((run) => run.epochs_done < 0);
  return (
    <>
      <DifferenceTable runs={runs} />
      <ComparisonOptions comparison={comparison} />
      <Options view={view} onZoom={reelLayout.zoom} isPair={false} />
      {isWaiting && (
        <p class="notice" role="status">
          {t("compare.waiting")}
        </p>
      )}
      {!isWaiting && !comparison.commonProbes.value.length && (
        <p class="failure" role="alert">
          {t("compare.noProbe")}
        </p>
      )}
      <ReelCanvas
        lines={comparison.lines}
        columns={columns}
        cellSize={cellSize}
        epoch={cursor.epoch}
        cursorColumn={reelLayout.cursorColumn}
        selectedKey={selectedKey}
        version={comparison.version}
        label={t("compare.title")}
        onSelect={cursor.seek}
        onResize={(viewport) => (reelLayout.viewport.value = viewport)}
      />
      <div class="dock">
        <Scrubber cursor={cursor} isLive={false} label={alignment.label} />
      </div>
      <Curves
        charts={comparison.charts}
        x={comparison.x}
        position={cursor.epoch}
        xLabel={t("compare.column")}
        onSelect={cursor.seek}
      />
    </>
  );
}

/** The choice of the probe and of the alignment. */
function ComparisonOptions({ comparison: { selection, commonProbes, alignment } }: { comparison: Comparison }) {
  return (
    <div class="options">
      <label>
        <span>{t("compare.probe")}</span>
        <select value={selection.image.value ?? ""} onChange={(event) => selection.select(event.currentTarget.value)}>
          {commonProbes.value.map(({ image, label }) => (
            <option key={image} value={image}>
              {image}
              {label === null ? "" : ` (${label})`}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span>{t("compare.align")}</span>
        <select
          value={alignment.kind.value}
          onChange={(event) => (alignment.kind.value = event.currentTarget.value as AlignmentKind)}
        >
          <option value="epochs">{t("compare.epochs")}</option>
          <option value="images">{t("compare.images")}</option>
        </select>
      </label>
    </div>
  );
}
