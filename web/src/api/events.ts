import { subscribe } from "../events/subscriptions";
import type { Epoch, Run } from "./types";

export interface Progress {
  epoch: number;
  images_seen: number;
  images_total: number;
}

interface Listeners {
  status: (run: Run) => void;
  epoch: (epoch: Epoch) => void;
  progress: (progress: Progress) => void;
  /** Whether the stream is open; `lost`: nothing more comes, unless the run is read and followed anew. */
  connection: (open: boolean, lost: boolean) => void;
}

/** Whether nothing will happen to it any more, unless it is trained on. */
export const hasEnded = (run: Run): boolean => ["succeeded", "failed", "cancelled"].includes(run.status);

/**
 * Follow a run, as it was read, until it ends or is gone. What was told before is not told again: a
 * run that was trained on has ended before.
 */
export function follow(run: Run, listeners: Listeners): () => void {
  const stop = subscribe(run.id, run.last_event, {
    connection: listeners.connection,
    event: ({ kind, data }) => {
      if (kind === "epoch") listeners.epoch(data as Epoch);
      if (kind === "progress") listeners.progress(data as Progress);
      if (kind === "status") {
        if (hasEnded(data as Run)) stop();
        listeners.status(data as Run);
      }
      if (kind === "gone") {
        stop();
        listeners.connection(false, true);
      }
    },
  });
  return stop;
}
