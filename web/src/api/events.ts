import type { Epoch, Run } from "./types";

export interface Progress {
  epoch: number;
  images_seen: number;
  images_of_epoch: number;
}

interface Listeners {
  status: (run: Run) => void;
  epoch: (epoch: Epoch) => void;
  progress: (progress: Progress) => void;
  /** Whether the stream is open; the second tells that the browser has given it up. */
  connection: (open: boolean, over: boolean) => void;
}

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** Follow a run until it ends; the browser reconnects by itself, and goes on where it was. */
export function follow(runId: number, listeners: Listeners): () => void {
  const source = new EventSource(`/runs/${runId}/events`);
  const on = <T>(name: string, listener: (value: T) => void) =>
    source.addEventListener(name, (event) => listener(JSON.parse((event as MessageEvent<string>).data) as T));
  on<Run>("status", (run) => {
    listeners.status(run);
    if (ENDED.has(run.status)) source.close();
  });
  on<Epoch>("epoch", listeners.epoch);
  on<Progress>("progress", listeners.progress);
  source.onopen = () => listeners.connection(true, false);
  source.onerror = () => listeners.connection(false, source.readyState === EventSource.CLOSED);
  return () => source.close();
}
