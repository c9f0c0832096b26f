import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { getAllItems } from "../api/client";
import { Failure, Loading } from "../components/Failure";
import { Link } from "../components/Link";
import { formatTime, t } from "../text";
import { ExperimentProgress, RunTotals } from "./ExperimentHeader";
import { experimentName, pathLabel } from "./format";
import type { ExperimentSummary } from "./types";
import { isActive } from "./useExperiment";

const REFRESH_MS = 5000;

export function ExperimentListPage() {
  const experiments = useSignal<ExperimentSummary[] | null>(null);
  const failure = useSignal<Error | null>(null);
  const refresh = async () => {
    try {
      experiments.value = await getAllItems<ExperimentSummary>("/experiments");
      failure.value = null;
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => document.hidden || void refresh(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  document.title = `${t("experiments.title")} – Camreel`;
  return (
    <main class="start" id="content">
      <div class="start-head">
        <h1>{t("experiments.title")}</h1>
        {hasScope("run") ? (
          <Link to="/experiments/new" class="button primary">
            {t("experiments.new")}
          </Link>
        ) : (
          <ScopeNote scopes={["run"]} />
        )}
      </div>
      {failure.value && <Failure error={failure.value} retry={refresh} />}
      {!experiments.value && !failure.value && <Loading />}
      {experiments.value?.length === 0 && <p class="muted">{t("experiments.none")}</p>}
      <ul class="experiment-list">
        {experiments.value?.map((experiment) => (
          <li key={experiment.id}>
            <h2>
              <Link to={`/experiments/${experiment.id}`}>{experimentName(experiment)}</Link>
            </h2>
            <RunTotals experiment={experiment} />
            {isActive(experiment) && <ExperimentProgress experiment={experiment} />}
            <p class="note">
              {t("experiment.settings", {
                settings: experiment.settings_total,
                seeds: experiment.plan.seeds.length,
              })}{" "}
              · {experiment.fields.map(pathLabel).join(", ")} · {formatTime(experiment.created_at)}
            </p>
          </li>
        ))}
      </ul>
    </main>
  );
}
