import { useSignal } from "@preact/signals";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { deleteResource, postJson } from "../api/client";
import { ClampedHeading } from "../components/ClampedHeading";
import { Failure } from "../components/Failure";
import { Link } from "../components/Link";
import { useAction } from "../hooks/useAction";
import { navigate } from "../navigation";
import { number, t } from "../text";
import { experimentName } from "./format";
import type { Experiment, ExperimentSummary } from "./types";
import { type ExperimentFeed, isActive } from "./useExperiment";

const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"] as const;

/** The number of runs by status, without those that no run has. */
export function RunTotals({ experiment: { runs } }: { experiment: ExperimentSummary }) {
  return (
    <span class="totals">
      {STATUSES.filter((status) => runs[status] > 0).map((status) => (
        <span key={status} class={`status ${status}`}>
          {number(runs[status])} {t(`status.${status}`)}
        </span>
      ))}
    </span>
  );
}

/** The complete epochs of all runs as a bar. */
export function ExperimentProgress({ experiment }: { experiment: ExperimentSummary }) {
  const slots = { done: number(experiment.epochs_done), total: number(experiment.epochs_total) };
  return (
    <progress
      max={Math.max(1, experiment.epochs_total)}
      value={experiment.epochs_done}
      aria-label={t("experiment.progress", slots)}
    />
  );
}

interface Props {
  experiment: Experiment;
  feed: ExperimentFeed;
}

interface Continued {
  skipped: { run_id: number; reason: string }[];
}

export function ExperimentHeader({ experiment, feed }: Props) {
  const action = useAction();
  const skipped = useSignal<Continued["skipped"]>([]);
  const { id, runs, plan } = experiment;
  const post = (verb: string, body?: unknown) =>
    action.run(async () => {
      skipped.value = (await postJson<Partial<Continued>>(`/experiments/${id}/${verb}`, body)).skipped ?? [];
      await feed.refresh();
    });
  const remove = () => {
    const slots = { name: experimentName(experiment), count: runs.total };
    if (!confirm(t("experiment.delete.confirm", slots))) return;
    void action.run(async () => {
      await deleteResource(`/experiments/${id}`);
      navigate("/experiments");
    });
  };
  const slots = { done: number(experiment.epochs_done), total: number(experiment.epochs_total) };
  return (
    <header class="run-head">
      <div>
        <ClampedHeading text={experimentName(experiment)} />
        <span class="muted">
          {t("experiment.settings", { settings: experiment.settings_total, seeds: plan.seeds.length })} ·{" "}
          {t("experiment.progress", slots)}
        </span>
        <RunTotals experiment={experiment} />
        {isActive(experiment) && <ExperimentProgress experiment={experiment} />}
      </div>
      <div class="actions">
        {hasScope("run") && (
          <>
            <Link to={`/experiments/new?from=${id}`} class="button">
              {t("experiment.duplicate")}
            </Link>
            {isActive(experiment) && <Button label={t("experiment.cancel")} onClick={() => post("cancel")} />}
            {runs.cancelled > 0 && <Button label={t("experiment.resume")} onClick={() => post("resume")} />}
            {runs.failed > 0 && <Button label={t("experiment.retry")} onClick={() => post("retry")} />}
            <SeedForm onAdd={(seeds) => post("seeds", { seeds })} />
          </>
        )}
        {runs.running === 0 && (
          <button type="button" class="danger" disabled={!hasScope("admin")} onClick={remove}>
            {t("experiment.delete")}
          </button>
        )}
        <ScopeNote scopes={["run", "admin"]} />
      </div>
      {action.failure.value && <Failure error={action.failure.value} />}
      {skipped.value.length > 0 && (
        <p class="note" role="status">
          {t("experiment.skipped", { count: skipped.value.length, reason: skipped.value[0]!.reason })}
        </p>
      )}
    </header>
  );
}

function Button({ label, onClick }: { label: string; onClick: () => void }) {
  return (
    <button type="button" onClick={onClick}>
      {label}
    </button>
  );
}

function SeedForm({ onAdd }: { onAdd: (seeds: number[]) => void }) {
  const text = useSignal("");
  const submit = (event: Event) => {
    event.preventDefault();
    const seeds = text.value.split(/[\s,]+/).filter(Boolean);
    if (seeds.length) onAdd(seeds.map(Number));
    text.value = "";
  };
  return (
    <form class="resume-form" onSubmit={submit}>
      <label>
        <span>{t("experiment.seeds")} </span>
        <input value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} inputMode="numeric" />
      </label>
      <button type="submit">{t("experiment.seeds.add")}</button>
    </form>
  );
}
