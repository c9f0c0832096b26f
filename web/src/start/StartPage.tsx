// The table of runs, newest first, and an introduction where there are none.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { Failure, Loading } from "../components/Failure";
import { IgnoredValues } from "../components/IgnoredValues";
import { Link } from "../components/Link";
import type { IgnoredValue } from "../hooks/useView";
import { replaceSearchParams, searchParams } from "../navigation";
import { t } from "../text";
import { ColumnMenu } from "./ColumnMenu";
import { columnKeys, parseSettingFilter, parseSorting, passesFilter, settingPaths, sortRuns } from "./columns";
import { Filters, STATUSES } from "./Filters";
import { RunTable } from "./RunTable";
import { SelectionBar } from "./SelectionBar";
import { useRunList } from "./useRunList";
import { Welcome } from "./Welcome";

export function StartPage() {
  const selectedIds = useSignal<number[]>([]);
  const parameter = (name: string) => searchParams.value.get(name) ?? "";
  const { status, ignored } = useStatusFilter();
  const experiment = /^[1-9]\d{0,14}$/.test(parameter("experiment")) ? parameter("experiment") : "";
  const filter = { search: parameter("search"), tag: parameter("tag"), status, experiment };
  const settingFilter = parseSettingFilter(parameter("setting"));
  const sorting = parseSorting(parameter("sort"));
  const isFiltered = Object.values(filter).some(Boolean) || settingFilter !== null;
  const { runs, failure, refresh, loadMore } = useRunList(filter);
  const list = runs.value;
  document.title = "Camreel";

  const isListShown = isFiltered || Boolean(list?.items.length);
  const items = list?.items ?? [];
  const shown = sortRuns(
    items.filter((run) => passesFilter(run, settingFilter)),
    sorting,
  );
  const paths = settingPaths(items);
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
          <Filters {...filter} setting={settingFilter} paths={paths} />
          <ColumnMenu paths={[...new Set([...paths, ...columnKeys.value.filter((key) => key.includes("."))])]} />
          {list && (
            <RunTable
              runs={shown}
              selectedIds={selectedIds}
              sorting={sorting}
              isGrouped={parameter("group") === "experiment"}
              onEdited={refresh}
            />
          )}
          {list && !shown.length && <p class="muted">{t("start.none")}</p>}
          {list?.next && (
            <>
              {(sorting || settingFilter) && <p class="note">{t("table.all", { count: items.length })}</p>}
              <button type="button" onClick={loadMore}>
                {t("start.more")}
              </button>
            </>
          )}
          {/* Below the list, so that the list stays in place when these appear. */}
          <div class="list-foot">
            {failureMessage}
            <SelectionBar
              runs={items.filter(({ id }) => selectedIds.value.includes(id))}
              onClear={() => (selectedIds.value = [])}
              onChanged={refresh}
            />
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
