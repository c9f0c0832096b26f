import type { Run } from "../api/types";
import { t } from "../text";

export function StatusBadge({ run }: { run: Run }) {
  return <span class={`status ${run.status}`}>{t(`status.${run.status}`)}</span>;
}

export const runName = (run: Run): string => run.name || t("run.unnamed", { id: run.id });

/** The complete epochs of a run and the trained fraction of the current one, without epoch 0. */
export function epochsTrained({ status, epochs_done, epochs_total, progress }: Run): number {
  const done = Math.max(0, epochs_done);
  if (status !== "running" || done >= epochs_total) return done;
  return done + Math.min(1, progress.images_seen / Math.max(1, progress.images_total));
}

/** A progress bar over the run's epochs. */
export function RunProgress({ run }: { run: Run }) {
  const slots = { done: Math.max(0, run.epochs_done), total: run.epochs_total };
  return <progress max={run.epochs_total} value={epochsTrained(run)} aria-label={t("run.progress", slots)} />;
}
