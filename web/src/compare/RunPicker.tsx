import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Run } from "../api/types";
import { runName } from "../components/StatusBadge";
import { navigate } from "../navigation";
import { MAX_COMPARED } from "../route";
import { t } from "../text";

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
    return run ? runName(run) : `#${id}`;
  };
  const compare = (next: number[]) => navigate(`/compare?runs=${next.join(",")}`);
  const others = runs.value.filter((run) => !ids.includes(run.id) && run.epochs_done >= 0);
  return (
    <div class="picker">
      {ids.map((id) => (
        <button
          key={id}
          type="button"
          class="tag selected"
          onClick={() => compare(ids.filter((other) => other !== id))}
          aria-label={t("compare.remove", { name: nameOf(id) })}
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
