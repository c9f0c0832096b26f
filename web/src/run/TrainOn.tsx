// Let a run that has ended go on: to what it was asked for, or further.

import { useSignal } from "@preact/signals";
import { postJson } from "../api/client";
import type { Run } from "../api/types";
import type { Deed } from "../parts/useDeed";
import { t } from "../text";

const FURTHER = 10; // epochs, where it has reached what it was asked for

export function TrainOn({ run, deed, onResumed }: { run: Run; deed: Deed; onResumed: () => Promise<void> }) {
  const done = Math.max(0, run.epochs_done);
  const total = useSignal(String(done < run.epochs_total ? run.epochs_total : run.epochs_total + FURTHER));
  const send = (event: Event) => {
    event.preventDefault();
    void deed.act(async () => {
      await postJson(`/runs/${run.id}/resume`, { epochs: Number(total.value) });
      await onResumed();
    });
  };
  return (
    <form class="train-on" onSubmit={send}>
      <button type="submit">{t("run.resume")}</button>
      <label>
        <span>{t("run.resume.until")}</span>{" "}
        <input type="number" min={done + 1} step={1} required value={total.value} onInput={(event) => (total.value = event.currentTarget.value)} />
      </label>
    </form>
  );
}
