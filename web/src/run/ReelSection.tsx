import { useComputed } from "@preact/signals";
import { Failure, Loading } from "../components/Failure";
import { ReelCanvas } from "../maps/ReelCanvas";
import { nth, t } from "../text";
import { imageName } from "./imageName";
import { Legend } from "./Legend";
import type { RunModel } from "./useRunModel";

export function ReelSection({ model }: { model: RunModel }) {
  const { view, reelLayout } = model;
  const cellSize = useComputed(() => reelLayout.layout.value.cell);
  const { value: reel } = model.reel;
  void reel?.version.value;
  const failure = reel?.failure.value;
  const titleText = view.rows.value === "classes" ? "reel.title.classes" : "reel.title";
  const title = t(titleText, { image: imageName(model.image.value) });
  return (
    <section class="reel-section" aria-label={title} aria-busy={reel?.isBusy.value ?? true}>
      <div class="reel-head">
        <h2>{title}</h2>
        <span class="muted">{epochCount(model)}</span>
        <Legend view={view} />
      </div>
      {failure && <Failure error={failure} retry={() => reel?.request(reelLayout.epochs.value)} />}
      {!failure && !reel?.rows.length && <Loading message={t("reel.loading")} />}
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
