// What can be done with the selected runs. It stays in sight while the list scrolls.

import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { deleteResource, isNotFound, postJson } from "../api/client";
import { hasEnded } from "../api/runEvents";
import type { Run } from "../api/types";
import { Failure } from "../components/Failure";
import { Link } from "../components/Link";
import { useAction } from "../hooks/useAction";
import { MAX_COMPARED } from "../route";
import { t } from "../text";

interface Props {
  runs: Run[]; // the selected ones
  onClear: () => void;
  onChanged: () => Promise<void>;
}

/** The number of selected runs and what can be done with them. Its space is reserved while there are none. */
export function SelectionBar({ runs, onClear, onChanged }: Props) {
  const action = useAction();
  const count = runs.length;
  const active = runs.filter((run) => !hasEnded(run));
  const deletable = runs.filter((run) => hasEnded(run) || run.status === "queued");
  const isComparable = count >= 2 && count <= MAX_COMPARED;
  const cancel = () =>
    action.run(async () => {
      for (const { id } of active) await postJson(`/runs/${id}/cancel`);
      await onChanged();
    });
  const remove = () => {
    if (!confirm(t("bulk.delete.confirm", { count: deletable.length }))) return;
    void action.run(async () => {
      try {
        // One after the other: each is a transaction, and other writers take turns with them.
        for (const { id } of deletable) await deleteResource(`/runs/${id}`).catch(unlessDeleted);
        onClear();
      } finally {
        await onChanged();
      }
    });
  };
  return (
    <section class={count ? "comparison-prompt open" : "comparison-prompt"} aria-label={t("bulk.title")}>
      {action.failure.value && <Failure error={action.failure.value} />}
      {count > 0 && (
        <>
          <span role="status">
            {t("start.selected", { count })} {!isComparable && t("bulk.compare.limit", { count: MAX_COMPARED })}
          </span>
          {isComparable && (
            <Link to={`/compare?runs=${runs.map(({ id }) => id).join(",")}`} class="button primary">
              {t("start.compare")}
            </Link>
          )}
          {active.length > 0 && (
            <button type="button" disabled={!hasScope("run")} aria-disabled={action.isRunning.value} onClick={cancel}>
              {t("bulk.cancel", { count: active.length })}
            </button>
          )}
          {deletable.length > 0 && (
            <button
              type="button"
              class="danger"
              disabled={!hasScope("admin")}
              aria-disabled={action.isRunning.value}
              onClick={remove}
            >
              {t("bulk.delete", { count: deletable.length })}
            </button>
          )}
          <button type="button" onClick={onClear}>
            {t("start.clear")}
          </button>
          <ScopeNote scopes={deletable.length ? ["run", "admin"] : ["run"]} />
        </>
      )}
    </section>
  );
}

/** Ignores that another tab has deleted it before. */
function unlessDeleted(error: unknown): void {
  if (!isNotFound(error as Error)) throw error;
}
