import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Run } from "../api/types";
import { runName } from "../components/StatusBadge";
import { navigate } from "../navigation";
import { MAX_COMPARED, updateQuery } from "../route";
import { t } from "../text";

/** Shows these runs, in the current view. */
const compare = (ids: number[]) => navigate(`/compare?${updateQuery(location.search, { runs: ids.join(",") })}`);

interface RemoveProps {
  id: number;
  ids: number[]; // of all compared runs
}

/** A button that removes a run from the comparison. */
export function RemoveButton({ id, ids }: RemoveProps) {
  return (
    <button type="button" onClick={() => compare(ids.filter((other) => other !== id))}>
      {t("compare.remove", { name: `#${id}` })}
    </button>
  );
}

/** The compared runs as buttons that remove them, and a list of the others to add. */
export function RunPicker({ ids }: { ids: number[] }) {
  const runs = useSignal<Run[]>([]);
  useEffect(() => {
    getJson<{ items: Run[] }>("/runs", { limit: 200 }).then(
      (page) => (runs.value = page.items),
      () => {}, // the page reports the failure of its runs
    );
  }, []);
  const nameOf = (id: number) => {
    const run = runs.value.find((candidate) => candidate.id === id);
    return run && runName(run);
  };
  const others = runs.value.filter((run) => !ids.includes(run.id) && run.epochs_done >= 0);
  return (
    <div class="picker">
      {ids.map((id) => (
        <button
          key={id}
          type="button"
          class="tag selected"
          onClick={() => compare(ids.filter((other) => other !== id))}
          aria-label={t("compare.remove", { name: nameOf(id) ?? `#${id}` })}
        >
          {nameOf(id)} <span class="muted">#{id}</span> ×
        </button>
      ))}
      {ids.length < MAX_COMPARED && (
        <label>
          <span class="visually-hidden">{t("compare.add")}</span>
          <select value="" onChange={(event) => compare([...ids, Number(event.currentTarget.value)])}>
            <option value="">{t("compare.add")}</option>
            {others.map((run) => (
              <option key={run.id} value={run.id}>
                {runName(run)} #{run.id}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}
