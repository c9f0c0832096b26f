import { address } from "./address";
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
  /** Whether the stream is open; the second tells that the browser has given it up. */
  connection: (open: boolean, over: boolean) => void;
}

/** Whether nothing will happen to it any more, unless it is trained on. */
export const hasEnded = (run: Run): boolean => ["succeeded", "failed", "cancelled"].includes(run.status);

/**
 * Follow a run, as it was read, until it ends; the browser reconnects by itself, and goes on where
 * it was. What was told before is not told again: a run that was trained on has ended before.
 */
export function follow(run: Run, listeners: Listeners): () => void {
  const source = new EventSource(address(`/runs/${run.id}/events`, { after: run.last_event }));
  const on = <T>(name: string, listener: (value: T) => void) =>
    source.addEventListener(name, (event) => listener(JSON.parse((event as MessageEvent<string>).data) as T));
  on<Run>("status", (run) => {
    listeners.status(run);
    if (hasEnded(run)) source.close();
  });
  on<Epoch>("epoch", listeners.epoch);
  on<Progress>("progress", listeners.progress);
  source.onopen = () => listeners.connection(true, false);
  source.onerror = () => listeners.connection(false, source.readyState === EventSource.CLOSED);
  return () => source.close();
}
