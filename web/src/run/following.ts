// A run, its epochs and blanks, kept up to date while it trains.

import { batch, effect, signal, type ReadonlySignal } from "@preact/signals";
import { ApiError, getAll, getJson } from "../api/client";
import { follow, hasEnded, type Progress } from "../api/events";
import type { Blanks, Epoch, Probe, Run } from "../api/types";

const RETRY = 3000; // ms

/** Whether that says that the run is no more: asking again is of no use. */
export const isGone = (failure: Error): boolean => failure instanceof ApiError && failure.problem.status === 404;

export interface Following {
  run: ReadonlySignal<Run | null>;
  epochs: ReadonlySignal<Epoch[]>; // in order, from 0
  probes: ReadonlySignal<Probe[]>;
  progress: ReadonlySignal<Progress | null>;
  connected: ReadonlySignal<boolean>;
  failure: ReadonlySignal<Error | null>;
  refresh: () => Promise<void>;
  close: () => void;
}

export function followRun(id: number): Following {
  const run = signal<Run | null>(null);
  const epochs = signal<Epoch[]>([]);
  const probes = signal<Probe[]>([]);
  const progress = signal<Progress | null>(null);
  const connected = signal(true);
  const failure = signal<Error | null>(null);
  let stop = () => {};
  let closed = false;

  const add = (epoch: Epoch) => {
    const known = epochs.value;
    if (epoch.epoch === known.length) epochs.value = [...known, epoch];
    else if (epoch.epoch < known.length) epochs.value = known.with(epoch.epoch, epoch);
  };
  const readEpochs = () => getAll<Epoch>(`/runs/${id}/epochs`);
  const readProbes = async () => (probes.peek().length ? probes.peek() : getAll<Probe>(`/runs/${id}/probes`));
  const refresh = async () => {
    try {
      let [found, all, images] = await Promise.all([getJson<Run>(`/runs/${id}`), readEpochs(), readProbes()]);
      // An epoch has landed between the answers, and will not be told once more.
      const late = all.length <= found.epochs_done || (found.epochs_done >= 0 && !images.length);
      if (late) [all, images] = await Promise.all([readEpochs(), readProbes()]);
      if (closed) return;
      batch(() => {
        probes.value = images;
        epochs.value = all;
        run.value = found;
        failure.value = null;
      });
      stop();
      if (hasEnded(found)) return;
      stop = follow(found, {
        status: (next) => {
          run.value = next;
          if (next.status !== "running") progress.value = null;
        },
        epoch: (next) => {
          add(next);
          // If they cannot be read now: the next epoch asks again.
          void readProbes().then((images) => (probes.value = images), () => {});
        },
        progress: (next) => (progress.value = next),
        connection: (open, lost) => {
          connected.value = open;
          if (lost) later();
        },
      });
    } catch (error) {
      failure.value = error as Error;
      // What is shown stays. A proxy may answer for a service that is being started again.
      if (run.peek() && !isGone(error as Error)) later();
    }
  };
  const later = () => closed || setTimeout(() => closed || void refresh(), RETRY);
  void refresh();
  return {
    run, epochs, probes, progress, connected, failure, refresh,
    close: () => {
      closed = true;
      stop();
    },
  };
}

/** Blank shares of some methods by epoch; new epochs are counted as they land. */
export function followBlanks(id: number, methods: () => string[], last: () => number) {
  const shares = signal<Record<string, (number | null)[]>>({});
  let asked = "";
  const close = effect(() => {
    const names = [...new Set(methods())];
    const until = last();
    const key = names.join(" ");
    if (until < 1) return;
    const fresh = key !== asked;
    asked = key;
    const kept = shares.peek();
    const from = fresh ? 1 : Math.max(1, Math.min(...names.map((name) => kept[name]?.length ?? 1)));
    if (from > until) return;
    void getJson<Blanks>(`/runs/${id}/blanks`, { method: names, epochs: from === 1 ? null : `${from}:${until}` })
      .then((blanks) => {
        if (asked !== key) return;
        const before = shares.peek(); // has what a later question was answered
        shares.value = Object.fromEntries(
          names.map((name) => {
            const list = [...(before[name] ?? [null])]; // epoch 0 is not counted
            for (const { epoch, methods: counts } of blanks.per_epoch) {
              const count = counts[name];
              list[epoch] = count && count.total ? count.blank / count.total : null;
            }
            return [name, list];
          }),
        );
      })
      .catch(() => {
        if (asked === key) asked = ""; // asked again with the next epoch
      });
  });
  return { shares: shares as ReadonlySignal<Record<string, (number | null)[]>>, close };
}
