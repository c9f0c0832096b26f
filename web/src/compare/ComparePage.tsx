// Two to six runs with one scrubber: the same probe and scale, aligned by epochs or by images seen.

import { useComputed, useSignal } from "@preact/signals";
import { isNotFound } from "../api/client";
import { Failure, Loading } from "../components/Failure";
import { IgnoredValues } from "../components/IgnoredValues";
import { runName } from "../components/StatusBadge";
import { ReelCanvas } from "../maps/ReelCanvas";
import { ReelFailure, ReplacementNote } from "../maps/ReelState";
import { Curves } from "../run/Curves";
import { Options } from "../run/Options";
import { Scrubber } from "../run/Scrubber";
import { useShortcuts } from "../run/useShortcuts";
import { t } from "../text";
import { ClassAccuracies } from "./ClassAccuracies";
import { DifferenceTable } from "./DifferenceTable";
import { RemoveButton, RunPicker } from "./RunPicker";
import type { AlignmentKind } from "./useAlignment";
import { type ComparedRun, type Comparison, useComparison } from "./useComparison";

export function ComparePage({ ids }: { ids: number[] }) {
  const comparison = useComparison(ids);
  const { runs, view, cursor, selection, reelLayout, isBusy } = comparison;
  useShortcuts({
    view,
    cursor: { ...cursor, toggleFollowing: () => {} }, // runs that have ended have no latest epoch to follow
    stepRow: selection.step,
    zoom: reelLayout.zoom,
  });
  document.title = `${t("compare.title")} – Camreel`;
  const isPending = runs.some(({ feed }) => !feed.run.value && !feed.failure.value);
  const isEmpty = runs.every(({ feed }) => !feed.run.value);
  return (
    <main class="compare" id="content" aria-busy={isPending || isBusy.value}>
      <h1>{t("compare.title")}</h1>
      <RunPicker ids={ids} />
      {ids.length < 2 && <p class="muted">{t("compare.few")}</p>}
      {ids.length >= 2 && !isPending && (
        <>
          {runs.map((run) => (
            <AbsentRun key={run.id} run={run} ids={ids} hasCommonProbes={comparison.common.value !== null} />
          ))}
          {!isEmpty && <ComparisonContent comparison={comparison} />}
        </>
      )}
      {ids.length >= 2 && isPending && <Loading />}
    </main>
  );
}

interface AbsentProps {
  run: ComparedRun;
  ids: number[];
  hasCommonProbes: boolean;
}

/** Why there are no maps of a run, with the offer to remove it; nothing for a run that has them. */
function AbsentRun({ run: { id, feed, absence }, ids, hasCommonProbes }: AbsentProps) {
  const run = feed.run.value;
  const failure = feed.failure.value;
  // That there is no common probe is said once, for all runs.
  const isAbsent = absence.value !== null && (hasCommonProbes || !feed.epochs.value.length);
  if (!failure && !isAbsent) return null;
  return (
    <div class="absent-run" role="group" aria-label={`#${id}`}>
      <b>{run ? `${runName(run)} #${id}` : `#${id}`}</b>
      {failure ? (
        <Failure error={failure} {...(isNotFound(failure) ? {} : { retry: feed.refresh })} />
      ) : (
        <p role="status">{absence.value}</p>
      )}
      <RemoveButton id={id} ids={ids} />
    </div>
  );
}

function ComparisonContent({ comparison }: { comparison: Comparison }) {
  const { runs, view, alignment, common, cursor, columns, reels, methodCount, reelLayout } = comparison;
  const cellSize = useComputed(() => reelLayout.layout.value.cell);
  const selectedKey = useSignal("");
  return (
    <>
      <DifferenceTable runs={runs.flatMap(({ feed }) => feed.run.value ?? [])} />
      <ComparisonOptions comparison={comparison} />
      <IgnoredValues values={view.ignored} />
      <Options
        view={view}
        classNames={comparison.classNames.value}
        layerMenu={comparison.layerMenu.value}
        onZoom={reelLayout.zoom}
        isPair={comparison.options.isPair.value}
        hasRows={false}
      />
      {!common.value && runs.some(({ feed }) => feed.probes.value.length) && (
        <p class="failure" role="alert">
          {t("compare.noProbe")}
        </p>
      )}
      {reels.value.map((reel, index) => (
        <ReelFailure key={index} reel={reel} name={`#${runs[Math.floor(index / methodCount.value)]!.id}`} />
      ))}
      <ReplacementNote reels={reels.value} />
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
      <ClassAccuracies comparison={comparison} column={cursor.epoch} />
    </>
  );
}

/** The choice of the probe and of the alignment. */
function ComparisonOptions({ comparison: { selection, common, alignment, options } }: { comparison: Comparison }) {
  const tick = (name: "probes" | "pair" | "differences", isTicked: boolean, label: string) => (
    <label class="tick">
      <input type="checkbox" checked={isTicked} onChange={(event) => options.set(name, event.currentTarget.checked)} />
      {label}
    </label>
  );
  return (
    <div class="options">
      <label>
        <span>{t("compare.probe")}</span>
        <select value={selection.image.value ?? ""} onChange={(event) => selection.select(event.currentTarget.value)}>
          {common.value?.probes.map(({ image, label }) => (
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
      {tick("probes", options.showsAllProbes.value, t("compare.allProbes"))}
      {tick("pair", options.isPair.value, t("compare.pair"))}
      {tick("differences", options.showsDifferences.value, t("compare.differenceMaps"))}
    </div>
  );
}
