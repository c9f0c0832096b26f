// A run with its epochs and probes, kept up to date while it trains.

import { batch, type ReadonlySignal, signal } from "@preact/signals";
import { useLayoutEffect, useMemo } from "preact/hooks";
import { getAllItems, getJson, isNotFound, isReachable } from "../api/client";
import { followRun, hasEnded, type Progress } from "../api/runEvents";
import type { Epoch, Probe, Run } from "../api/types";

const RETRY_MS = 3000;

export interface RunFeed {
  run: ReadonlySignal<Run | null>;
  epochs: ReadonlySignal<Epoch[]>; // in order, from 0
  probes: ReadonlySignal<Probe[]>;
  progress: ReadonlySignal<Progress | null>;
  isConnected: ReadonlySignal<boolean>;
  failure: ReadonlySignal<Error | null>;
  refresh: () => Promise<void>;
}

export function useRunFeed(id: number): RunFeed {
  return useRunFeeds([id])[0]!;
}

/** The feeds of several runs; `ids` are those of the first render. */
export function useRunFeeds(ids: number[]): RunFeed[] {
  const feeds = useMemo(() => ids.map((id) => new LiveRunFeed(id)), []);
  // A layout effect: its cleanup also runs for a page that is left before its first frame.
  useLayoutEffect(() => {
    for (const feed of feeds) void feed.refresh();
    const onVisible = () => {
      for (const feed of feeds) feed.refreshEnded();
    };
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      document.removeEventListener("visibilitychange", onVisible);
      for (const feed of feeds) feed.close();
    };
  }, []);
  return feeds;
}

class LiveRunFeed implements RunFeed {
  readonly run = signal<Run | null>(null);
  readonly epochs = signal<Epoch[]>([]);
  readonly probes = signal<Probe[]>([]);
  readonly progress = signal<Progress | null>(null);
  readonly isConnected = signal(true);
  readonly failure = signal<Error | null>(null);
  private unfollow = () => {};
  private isClosed = false;

  constructor(private readonly id: number) {}

  close(): void {
    this.isClosed = true;
    this.unfollow();
  }

  /** Fetches a run that has ended again if the tab is visible: another tab may have deleted or resumed it. */
  refreshEnded(): void {
    const run = this.run.peek();
    if (!document.hidden && run && hasEnded(run)) void this.refresh();
  }

  refresh = async (): Promise<void> => {
    try {
      const { run, epochs, probes } = await this.fetch();
      if (this.isClosed) return;
      batch(() => {
        this.probes.value = probes;
        this.epochs.value = epochs;
        this.run.value = run;
        this.failure.value = null;
      });
      this.unfollow();
      if (!hasEnded(run)) this.follow(run);
    } catch (error) {
      this.failure.value = error as Error;
      // What is shown stays. A proxy may have answered for a service that is restarting.
      if (this.run.peek() && !isNotFound(error as Error)) this.refreshLater();
    }
  };

  private async fetch(): Promise<{ run: Run; epochs: Epoch[]; probes: Probe[] }> {
    const [run, epochs, probes] = await Promise.all([
      getJson<Run>(`/runs/${this.id}`),
      this.fetchEpochs(),
      this.fetchProbes(),
    ]);
    // An epoch that was recorded between the responses is not sent as an event.
    const isOutdated = epochs.length <= run.epochs_done || (run.epochs_done >= 0 && !probes.length);
    if (!isOutdated) return { run, epochs, probes };
    const [newEpochs, newProbes] = await Promise.all([this.fetchEpochs(), this.fetchProbes()]);
    return { run, epochs: newEpochs, probes: newProbes };
  }

  private fetchEpochs(): Promise<Epoch[]> {
    return getAllItems<Epoch>(`/runs/${this.id}/epochs`);
  }

  private async fetchProbes(): Promise<Probe[]> {
    const cached = this.probes.peek();
    return cached.length ? cached : getAllItems<Probe>(`/runs/${this.id}/probes`);
  }

  private follow(run: Run): void {
    this.unfollow = followRun(run, {
      status: (next) => {
        batch(() => {
          this.progress.value = null; // that of the status before
          this.run.value = next;
        });
      },
      epoch: (epoch) => this.addEpoch(epoch),
      progress: (progress) => (this.progress.value = progress),
      connection: (open, lost) => {
        this.isConnected.value = open;
        if (open) isReachable.value = true;
        if (lost) this.refreshLater();
      },
    });
  }

  private addEpoch(epoch: Epoch): void {
    const epochs = this.epochs.value;
    if (epoch.epoch === epochs.length) this.epochs.value = [...epochs, epoch];
    else if (epoch.epoch < epochs.length) this.epochs.value = epochs.with(epoch.epoch, epoch);
    this.fetchProbes().then(
      (probes) => (this.probes.value = probes),
      () => {}, // tried again with the next epoch
    );
  }

  private refreshLater(): void {
    if (!this.isClosed) setTimeout(() => this.isClosed || void this.refresh(), RETRY_MS);
  }
}
