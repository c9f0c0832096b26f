import type { Run } from "../api/types";
import { t } from "../text";

export function StatusBadge({ run }: { run: Run }) {
  return <span class={`status ${run.status}`}>{t(`status.${run.status}`)}</span>;
}

export const runName = (run: Run): string => run.name || t("run.unnamed", { id: run.id });

export function Progress({ run, seen }: { run: Run; seen?: number | undefined }) {
  const done = Math.max(0, run.epochs_done);
  const share = (seen ?? run.progress.images_seen) / Math.max(1, run.progress.images_total);
  const within = run.status === "running" && done < run.epochs_total ? Math.min(1, share) : 0;
  return (
    <progress max={run.epochs_total} value={done + within} aria-label={t("run.progress", { done, total: run.epochs_total })} />
  );
}
