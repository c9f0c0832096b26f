import { useEffect } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { deleteResource, fieldErrorsOf, isNotFound, postJson } from "../api/client";
import { hasEnded, withProgress } from "../api/runEvents";
import type { Run } from "../api/types";
import { ClampedHeading } from "../components/ClampedHeading";
import { Failure } from "../components/Failure";
import { Link } from "../components/Link";
import { RunProgress, runName, StatusBadge } from "../components/StatusBadge";
import { type Action, useAction } from "../hooks/useAction";
import type { RunFeed } from "../hooks/useRunFeed";
import { navigate } from "../navigation";
import { percent, t } from "../text";
import { hasDiverged } from "./Divergence";
import { ResumeForm } from "./ResumeForm";
import { RunActivity } from "./RunActivity";

const SCOPE_NOTE = "run-scope-note";

export function RunHeader({ run, feed }: { run: Run; feed: RunFeed }) {
  const action = useAction();
  const failure = action.failure.value;
  useEffect(action.clearFailure, [run.status]); // it concerned the previous one
  useEffect(() => {
    if (isNotFound(failure)) void feed.refresh(); // another tab has deleted the run
  }, [failure]);
  return (
    <header class="run-head">
      <RunSummary run={run} feed={feed} />
      <div class="actions">
        {hasScope("run") && run.spec && (
          <Link to={`/new?from=${run.id}`} class="button">
            {t("run.duplicate")}
          </Link>
        )}
        <Link to={`/compare?runs=${run.id}`} class="button">
          {t("run.compare")}
        </Link>
        {hasEnded(run) ? (
          <>
            {run.spec && !hasDiverged(run) && (
              <ResumeForm key={run.finished_at} run={run} action={action} onResumed={feed.refresh} />
            )}
            <DeleteButton run={run} action={action} />
          </>
        ) : (
          <button
            type="button"
            disabled={!hasScope("run")}
            aria-describedby={SCOPE_NOTE}
            onClick={() => action.run(() => postJson(`/runs/${run.id}/cancel`))}
          >
            {t("run.cancel")}
          </button>
        )}
        <ScopeNote scopes={hasEnded(run) ? ["run", "admin"] : ["run"]} id={SCOPE_NOTE} />
      </div>
      {failure && !fieldErrorsOf(failure).length && <Failure error={failure} />}
    </header>
  );
}

function RunSummary({ run: fetched, feed }: { run: Run; feed: RunFeed }) {
  const progress = feed.progress.value;
  const run = progress ? withProgress(fetched, progress) : fetched;
  const latest = feed.epochs.value.at(-1);
  return (
    <div>
      <ClampedHeading text={runName(run)} />
      <StatusBadge run={run} />
      {run.tags.map((tag) => (
        <Link key={tag} to={`?tag=${encodeURIComponent(tag)}`} class="tag">
          {tag}
        </Link>
      ))}
      <span class="muted">
        {t("run.epochs", { done: Math.max(0, run.epochs_done), total: run.epochs_total })}
        {latest && ` · ${t("run.accuracy", { accuracy: percent(latest.test_accuracy, 2) })}`}
      </span>
      {!hasEnded(run) && <RunProgress run={run} />}
      {!hasEnded(run) && <RunActivity run={run} />}
    </div>
  );
}

function DeleteButton({ run, action }: { run: Run; action: Action }) {
  const onClick = () => {
    if (!confirm(t("run.delete.confirm", { name: runName(run) }))) return;
    void action.run(async () => {
      await deleteResource(`/runs/${run.id}`);
      navigate("");
    });
  };
  return (
    <button type="button" class="danger" disabled={!hasScope("admin")} aria-describedby={SCOPE_NOTE} onClick={onClick}>
      {t("run.delete")}
    </button>
  );
}
