import { useComputed } from "@preact/signals";
import { Loading } from "../components/Failure";
import { visibleMethodIndices } from "../hooks/useView";
import { reelTitle } from "../maps/methodTitles";
import { ReelCanvas } from "../maps/ReelCanvas";
import { ReelFailure, ReplacementNote } from "../maps/ReelState";
import { nth, t } from "../text";
import { imageName } from "./imageName";
import { Legend } from "./Legend";
import type { RunModel } from "./useRunModel";

const METHOD_NAMES = ["A", "B"];

export function ReelSection({ model }: { model: RunModel }) {
  const { view, reelLayout, runReels } = model;
  const cellSize = useComputed(() => reelLayout.layout.value.cell);
  const reels = runReels.reels.value;
  const visible = visibleMethodIndices(view.visibleMethods.value).filter((index) => reels[index]);
  const titleText = view.rows.value === "classes" ? "reel.title.classes" : "reel.title";
  const title = t(titleText, { image: imageName(model.image.value) });
  const isBusy = !reels.length || reels.some((reel) => reel.isBusy.value);
  return (
    <section class="reel-section" aria-label={title} aria-busy={isBusy}>
      <div class="reel-head">
        <h2>{title}</h2>
        <span class="muted">{epochCount(model)}</span>
        <ReplacementNote reels={visible.map((index) => reels[index]!)} />
        <Legend view={view} />
      </div>
      {visible.map((index) => (
        <ReelFailure key={index} reel={reels[index]!} name={`${METHOD_NAMES[index]} · ${reelTitle(reels[index]!)}`} />
      ))}
      {isBusy && !runReels.rows.value.length && <Loading message={t("reel.loading")} />}
      <ReelCanvas
        lines={model.lines}
        columns={model.columns}
        cellSize={cellSize}
        epoch={model.cursor.epoch}
        cursorColumn={reelLayout.cursorColumn}
        selectedKey={model.rowSelection.key}
        version={model.reelVersion}
        onSelect={model.select}
        onResize={(viewport) => (reelLayout.viewport.value = viewport)}
        label={t("reel.described", { title })}
      />
    </section>
  );
}

/** How many of the epochs have a column. */
function epochCount({ reelLayout, cursor }: RunModel): string {
  const { step } = reelLayout.layout.value;
  const total = cursor.last.value + 1;
  const columns = reelLayout.epochs.value.length;
  return step > 1 ? t("reel.sampled", { nth: nth(step), columns, total }) : t("reel.all", { total });
}
