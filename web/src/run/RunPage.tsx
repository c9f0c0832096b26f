// One run: the reel, the scrubber, and everything that shows the selected epoch.

import { isNotFound } from "../api/client";
import { hasEnded } from "../api/runEvents";
import type { Run, Spec } from "../api/types";
import { FailurePage, Loading } from "../components/Failure";
import { IgnoredValues } from "../components/IgnoredValues";
import { runName } from "../components/StatusBadge";
import { firstAnswersArrived } from "../firstAnswers";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { ignoreMissingEpoch } from "../hooks/useView";
import { t } from "../text";
import { ClassScoresTable } from "./ClassScoresTable";
import { Curves } from "./Curves";
import { DivergenceAdvice, hasDiverged } from "./Divergence";
import { Downloads } from "./Downloads";
import { EpochAnnouncement } from "./EpochAnnouncement";
import { FindingsPanel } from "./Findings";
import { Options } from "./Options";
import { PreviewPanel } from "./PreviewPanel";
import { ReelSection } from "./ReelSection";
import { RunHeader } from "./RunHeader";
import { RunSettings } from "./RunSettings";
import { Scrubber } from "./Scrubber";
import { UploadForm } from "./UploadForm";
import { type RunModel, useRunModel } from "./useRunModel";
import { useShortcuts } from "./useShortcuts";

export function RunPage({ id }: { id: number }) {
  const model = useRunModel(id);
  const { feed, view, cursor, rowSelection, reelLayout } = model;
  useShortcuts({ view, cursor, stepRow: rowSelection.step, zoom: reelLayout.zoom });
  // Another tab may have deleted a run that has ended, whose events are not followed.
  useSignalLayoutEffect(() => {
    if (model.runReels.reels.value.some((reel) => isNotFound(reel.failure.value))) void feed.refresh();
  });
  useSignalLayoutEffect(() => {
    if (feed.run.value && hasEnded(feed.run.value)) ignoreMissingEpoch(view, cursor.last.value);
  });
  const run = feed.run.value;
  const failure = feed.failure.value;
  if (!firstAnswersArrived.value) return null;
  if (failure && (!run || isNotFound(failure))) return <FailurePage error={failure} retry={feed.refresh} />;
  if (!run) return <Loading />;
  document.title = `${runName(run)} – Camreel`;
  return (
    <main class="run" id="content">
      <RunHeader run={run} feed={feed} />
      {run.error && (
        <div class="failure" role="alert">
          <p>
            <b>{run.error.type}</b> {run.error.detail}
          </p>
          {hasDiverged(run) && <DivergenceAdvice run={run} />}
        </div>
      )}
      {!hasEnded(run) && !feed.isConnected.value && (
        <p class="notice" role="status">
          {t("run.reconnecting")}
        </p>
      )}
      {cursor.last.value < 0 ? (
        <Loading message={waitingMessage(run)} />
      ) : (
        <RunContent id={id} run={run} model={model} />
      )}
    </main>
  );
}

/** Shown in place of the maps of a run without epochs. */
function waitingMessage(run: Run): string {
  return hasEnded(run) ? t("run.nothing") : t("run.first");
}

/** Whether the network of a run sees color images. */
const isColor = ({ input }: Spec): boolean => (input as { channels?: string } | null)?.channels === "rgb";

function RunContent({ id, run, model }: { id: number; run: Run; model: RunModel }) {
  const { view, cursor, image, scores, rowSelection, reelLayout } = model;
  return (
    <>
      <IgnoredValues values={view.ignored} />
      <Options
        view={view}
        classNames={scores.classNames.value}
        layerMenu={model.layerMenu.value}
        onZoom={reelLayout.zoom}
        isPair
      />
      <div class="stage">
        <ReelSection model={model} />
        <aside class="side" aria-label={t("preview.title")}>
          <PreviewPanel runId={id} image={image} previews={model.previews} />
          <ClassScoresTable scores={scores} image={image} epoch={cursor.epoch} />
          {run.spec && <UploadForm runId={id} isGray={!isColor(run.spec)} onUpload={rowSelection.showClasses} />}
        </aside>
      </div>
      <div class="dock">
        <Scrubber cursor={cursor} isLive={!hasEnded(run)} label={(epoch) => t("scrubber.at", { epoch })} />
      </div>
      <EpochAnnouncement model={model} />
      <FindingsPanel run={run} />
      <Curves
        charts={model.charts}
        x={model.epochs}
        position={cursor.epoch}
        xLabel={t("scrubber.epoch")}
        onSelect={cursor.seek}
      />
      <Downloads runId={id} view={view} row={model.row} />
      <RunSettings run={run} layerMenu={model.layerMenu.value} />
    </>
  );
}
