// An experiment: progress, the best setting, marginal means, matrix, and all runs.

import { useSignal } from "@preact/signals";
import { address } from "../api/address";
import { FailurePage, Loading } from "../components/Failure";
import { number, t } from "../text";
import { BestSettingCard } from "./BestSettingCard";
import { ExperimentHeader } from "./ExperimentHeader";
import { experimentName, measureName } from "./format";
import { Marginals } from "./Marginals";
import { MatrixSection } from "./MatrixSection";
import { RunsOfExperiment } from "./RunsOfExperiment";
import type { Align } from "./types";
import { useExperiment, useSettingComparison } from "./useExperiment";

export function ExperimentPage({ id }: { id: number }) {
  const feed = useExperiment(id);
  const align = useSignal<Align>("epoch");
  const measure = useSignal("test_accuracy");
  const comparison = useSettingComparison(feed, align.value).value;
  const experiment = feed.experiment.value;
  if (!experiment && feed.failure.value) return <FailurePage error={feed.failure.value} retry={feed.refresh} />;
  if (!experiment) return <Loading />;
  document.title = `${experimentName(experiment)} – Camreel`;
  return (
    <main class="experiment" id="content">
      <ExperimentHeader experiment={experiment} feed={feed} />
      {experiment.notes && <p class="notes">{experiment.notes}</p>}
      <div class="options">
        <label>
          <span>{t("matrix.measure")}</span>
          <select value={measure.value} onChange={(event) => (measure.value = event.currentTarget.value)}>
            {experiment.measures.map(({ name, description }) => (
              <option key={name} value={name} title={description}>
                {measureName(name)}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t("marginals.align")}</span>
          <select value={align.value} onChange={(event) => (align.value = event.currentTarget.value as Align)}>
            {(["epoch", "images", "loss"] as const).map((name) => (
              <option key={name} value={name}>
                {t(`align.${name}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <BestSettingCard comparison={comparison} measure={measure.value} />
      {comparison && comparison.column !== null && (
        <Marginals comparison={comparison} measures={experiment.measures} measure={measure.value} />
      )}
      {experiment.fields.length > 0 && (
        <MatrixSection experiment={experiment} align={align.value} measure={measure.value} />
      )}
      <RunsOfExperiment experiment={experiment} runs={feed.runs.value} />
      <p class="downloads">
        <a href={address(`/experiments/${id}/runs.csv`)}>{t("experiment.csv")}</a>{" "}
        <a href={address(`/experiments/${id}/report.md`, { measure: measure.value, align: align.value })}>
          {t("experiment.report")}
        </a>{" "}
        <span class="muted">{t("table.runs", { count: number(experiment.runs.total) })}</span>
      </p>
    </main>
  );
}
