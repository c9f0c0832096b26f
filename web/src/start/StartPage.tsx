// The list of runs, newest first, and an introduction where there are none.

import { useSignal } from "@preact/signals";
import { Failure, Loading } from "../components/Failure";
import { Link } from "../components/Link";
import { searchParams } from "../navigation";
import { MAX_COMPARED } from "../route";
import { t } from "../text";
import { Filters } from "./Filters";
import { RunTable } from "./RunTable";
import { useRunList } from "./useRunList";
import { Welcome } from "./Welcome";

export function StartPage() {
  const selectedIds = useSignal<number[]>([]);
  const parameter = (name: string) => searchParams.value.get(name) ?? "";
  const filter = { search: parameter("search"), tag: parameter("tag"), status: parameter("status") };
  const isFiltered = Object.values(filter).some(Boolean);
  const { runs, failure, refresh, loadMore } = useRunList(filter);
  const list = runs.value;
  document.title = "Camreel";

  const toggle = (id: number) => {
    const ids = selectedIds.value;
    selectedIds.value = ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id].slice(-MAX_COMPARED);
  };
  return (
    <main class="start" id="content">
      <div class="start-head">
        <h1>{t("start.title")}</h1>
        <Link to="/new" class="button primary">
          {t("start.new")}
        </Link>
      </div>
      {failure.value && <Failure error={failure.value} retry={refresh} />}
      {!list && !failure.value && <Loading />}
      {list && !list.items.length && !isFiltered && <Welcome />}
      {(isFiltered || Boolean(list?.items.length)) && (
        <>
          <Filters {...filter} />
          <ComparisonPrompt ids={selectedIds.value} />
          {list && <RunTable runs={list.items} selectedIds={selectedIds.value} onToggle={toggle} />}
          {list && !list.items.length && <p class="muted">{t("start.none")}</p>}
          {list?.next && (
            <button type="button" onClick={loadMore}>
              {t("start.more")}
            </button>
          )}
        </>
      )}
    </main>
  );
}

/** How many runs are selected, and the link that compares them. */
function ComparisonPrompt({ ids }: { ids: number[] }) {
  if (!ids.length) return null;
  return (
    <p role="status">
      {t("start.selected", { count: ids.length })}{" "}
      {ids.length > 1 ? (
        <Link to={`/compare?runs=${ids.join(",")}`} class="button primary">
          {t("start.compare")}
        </Link>
      ) : (
        t("start.selectMore")
      )}
    </p>
  );
}
