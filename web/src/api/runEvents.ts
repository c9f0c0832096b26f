import { subscribe } from "../events/subscriptions";
import type { Epoch, Run, RunActivity } from "./types";

export interface Progress extends RunActivity {
  epoch: number; // the epoch that is trained, after the last complete one
  images_seen: number;
  images_total: number;
}

interface Listeners {
  status: (run: Run) => void;
  epoch: (epoch: Epoch) => void;
  progress: (progress: Progress) => void;
  /** `open`: the stream is connected. `lost`: no more events come until the run is fetched and followed again. */
  connection: (open: boolean, lost: boolean) => void;
}

/** Whether the run has a terminal status. It can leave that status only by being resumed. */
export const hasEnded = (run: Run): boolean => ["succeeded", "failed", "cancelled"].includes(run.status);

/** The run at the time of a progress event, which is newer. */
export function withProgress(run: Run, { epoch, ...progress }: Progress): Run {
  return { ...run, epochs_done: epoch - 1, progress: { ...run.progress, ...progress } };
}

/**
 * Subscribes to the events of a run that come after those that its fetched state includes, until the run ends or is
 * deleted. Returns a function that unsubscribes.
 */
export function followRun(run: Run, listeners: Listeners): () => void {
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
