import type { Run } from "../api/types";
import { epochsTrained } from "../components/StatusBadge";
import { formatDuration, number, t } from "../text";

/** What the run does now, seconds per epoch, and the time left; of these, what is known. */
export function RunActivity({ run }: { run: Run }) {
  const parts = [activityText(run), ...paceTexts(run)].filter((part) => part !== null);
  return <p class="activity muted figure">{parts.join(" · ")}</p>;
}

/** What the run does now, or its position in the queue; null if neither is known. */
export function activityText({ epochs_done, progress }: Run): string | null {
  const epoch = epochs_done + 1;
  switch (progress.phase) {
    case null:
      return queueText(progress.queue_position);
    case "training": {
      const [seen, total] = [number(progress.images_seen), number(progress.images_total)];
      return t("phase.training", { epoch, seen, total });
    }
    case "evaluating":
      return t("phase.evaluating", { epoch, total: number(progress.test_images_total) });
    default:
      return t(`phase.${progress.phase}`, { epoch });
  }
}

function queueText(position: number | null): string | null {
  if (position === null) return null;
  return position === 1 ? t("queue.next") : t("queue.position", { position });
}

function paceTexts(run: Run): string[] {
  const seconds = run.progress.seconds_per_epoch;
  if (seconds === null) return [];
  const secondsLeft = Math.ceil(seconds * (run.epochs_total - epochsTrained(run)));
  return [
    t("pace.epoch", { duration: formatDuration(seconds) }),
    t("pace.left", { duration: formatDuration(secondsLeft) }),
  ];
}
