// The list of runs, newest first, and an introduction where there are none.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { Failure, Loading } from "../components/Failure";
import { IgnoredValues } from "../components/IgnoredValues";
import { Link } from "../components/Link";
import type { IgnoredValue } from "../hooks/useView";
import { replaceSearchParams, searchParams } from "../navigation";
import { MAX_COMPARED } from "../route";
import { t } from "../text";
import { Filters, STATUSES } from "./Filters";
import { RunTable } from "./RunTable";
import { useRunList } from "./useRunList";
import { Welcome } from "./Welcome";

export function StartPage() {
  const selectedIds = useSignal<number[]>([]);
  const parameter = (name: string) => searchParams.value.get(name) ?? "";
  const { status, ignored } = useStatusFilter();
  const filter = { search: parameter("search"), tag: parameter("tag"), status };
  const isFiltered = Object.values(filter).some(Boolean);
  const { runs, failure, refresh, loadMore } = useRunList(filter);
  const list = runs.value;
  document.title = "Camreel";

  const isListShown = isFiltered || Boolean(list?.items.length);

  const toggle = (id: number) => {
    const ids = selectedIds.value;
    selectedIds.value = ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id];
  };
  const failureMessage = failure.value && <Failure error={failure.value} retry={refresh} />;
  return (
    <main class="start" id="content">
      <div class="start-head">
        <h1>{t("start.title")}</h1>
        {hasScope("run") ? (
          <Link to="/new" class="button primary">
            {t("start.new")}
          </Link>
        ) : (
          <ScopeNote scopes={["run"]} />
        )}
      </div>
      {!list && !failure.value && <Loading />}
      {list && !isListShown && <Welcome />}
      {!isListShown && failureMessage}
      {isListShown && (
        <>
          <IgnoredValues values={ignored} />
          <Filters {...filter} />
          {list && <RunTable runs={list.items} selectedIds={selectedIds.value} onToggle={toggle} />}
          {list && !list.items.length && <p class="muted">{t("start.none")}</p>}
          {list?.next && (
            <button type="button" onClick={loadMore}>
              {t("start.more")}
            </button>
          )}
          {/* Below the list, so that the list stays in place when these appear. */}
          <div class="list-foot">
            {failureMessage}
            <ComparisonPrompt ids={selectedIds.value} onClear={() => (selectedIds.value = [])} />
          </div>
        </>
      )}
    </main>
  );
}

/** The status that the URL names, and that status as an ignored value if there is no such one. */
function useStatusFilter(): { status: string; ignored: Signal<IgnoredValue[]> } {
  const value = searchParams.value.get("status") ?? "";
  const isKnown = value === "" || STATUSES.some((status) => status === value);
  const ignored = useSignal<IgnoredValue[]>([]);
  useEffect(() => {
    if (isKnown) return;
    ignored.value = [{ parameter: "status", value }];
    replaceSearchParams({ status: null });
  }, [value]);
  return { status: isKnown ? value : "", ignored };
}

/** How many runs are selected, and the link that compares them. Its space is reserved while there are none. */
function ComparisonPrompt({ ids, onClear }: { ids: number[]; onClear: () => void }) {
  const count = ids.length;
  return (
    <div class={count ? "comparison-prompt open" : "comparison-prompt"} role="status">
      {count > 0 && (
        <>
          <span>
            {t(count < MAX_COMPARED ? "start.selected" : "start.selectedMost", { count })}
            {count === 1 && ` ${t("start.selectMore")}`}
          </span>
          {count > 1 && (
            <Link to={`/compare?runs=${ids.join(",")}`} class="button primary">
              {t("start.compare")}
            </Link>
          )}
          <button type="button" onClick={onClear}>
            {t("start.clear")}
          </button>
        </>
      )}
    </div>
  );
}
