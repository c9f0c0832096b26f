import type { Run } from "../api/types";
import { t } from "../text";

export function StatusBadge({ run }: { run: Run }) {
  return <span class={`status ${run.status}`}>{t(`status.${run.status}`)}</span>;
}

export const runName = (run: Run): string => run.name || t("run.unnamed", { id: run.id });

/** A progress bar over the run's epochs; `imagesSeen` is newer than the run if given. */
export function RunProgress({ run, imagesSeen }: { run: Run; imagesSeen?: number | undefined }) {
  const done = Math.max(0, run.epochs_done);
  const total = run.epochs_total;
  const share = (imagesSeen ?? run.progress.images_seen) / Math.max(1, run.progress.images_total);
  const epochFraction = run.status === "running" && done < total ? Math.min(1, share) : 0;
  return <progress max={total} value={done + epochFraction} aria-label={t("run.progress", { done, total })} />;
}
