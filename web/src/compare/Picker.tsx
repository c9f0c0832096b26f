// Which runs are compared: those chosen, and one more from the list.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Run } from "../api/types";
import { runName } from "../parts/StatusBadge";
import { go } from "../route";
import { t } from "../text";

const AT_MOST = 6;

export function Picker({ ids }: { ids: number[] }) {
  const runs = useSignal<Run[]>([]);
  useEffect(() => {
    void getJson<{ items: Run[] }>("/runs", { limit: 200 }).then((page) => (runs.value = page.items)).catch(() => {});
  }, []);
  const name = (id: number) => {
    const run = runs.value.find((one) => one.id === id);
    return run ? runName(run) : `#${id}`;
  };
  const show = (next: number[]) => go(`/compare?runs=${next.join(",")}`);
  const others = runs.value.filter((run) => !ids.includes(run.id) && run.epochs_done >= 0);
  return (
    <div class="picker">
      {ids.map((id) => (
        <button type="button" class="tag chosen" onClick={() => show(ids.filter((one) => one !== id))} aria-label={t("compare.remove", { name: name(id) })}>
          {name(id)} <span class="muted">#{id}</span> ×
        </button>
      ))}
      {ids.length < AT_MOST && (
        <label>
          <span class="visually-hidden">{t("compare.add")}</span>
          <select value="" onChange={(event) => show([...ids, Number(event.currentTarget.value)])}>
            <option value="">{t("compare.add")}</option>
            {others.map((run) => <option value={run.id}>{runName(run)} #{run.id}</option>)}
          </select>
        </label>
      )}
    </div>
  );
}
