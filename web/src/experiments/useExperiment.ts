import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getAllItems, getJson } from "../api/client";
import type { Align, Comparison, Experiment, ExperimentRun } from "./types";

const ACTIVE_MS = 2000;
const IDLE_MS = 15000; // another client may add seeds

export interface ExperimentFeed {
  experiment: ReadonlySignal<Experiment | null>;
  runs: ReadonlySignal<ExperimentRun[]>;
  failure: ReadonlySignal<Error | null>;
  refresh: () => Promise<void>;
}

/** Whether a run of the experiment has not ended. */
export const isActive = ({ runs }: Pick<Experiment, "runs">): boolean => runs.queued + runs.running > 0;

/** An experiment and all its runs, kept up to date. */
export function useExperiment(id: number): ExperimentFeed {
  const experiment = useSignal<Experiment | null>(null);
  const runs = useSignal<ExperimentRun[]>([]);
  const failure = useSignal<Error | null>(null);
  const refresh = async () => {
    try {
      const document = await getJson<Experiment>(`/experiments/${id}`, { limit: 200 });
      const items = document.next ? await getAllItems<ExperimentRun>(`/experiments/${id}`) : document.items;
      experiment.value = document;
      runs.value = items;
      failure.value = null;
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => {
    let timer = 0;
    let isClosed = false;
    const poll = async () => {
      if (!document.hidden || !experiment.value) await refresh();
      const pause = experiment.value && isActive(experiment.value) ? ACTIVE_MS : IDLE_MS;
      if (!isClosed) timer = window.setTimeout(poll, pause);
    };
    void poll();
    return () => {
      isClosed = true;
      clearTimeout(timer);
    };
  }, [id]);
  return { experiment, runs, failure, refresh };
}

/** The comparison of the settings, fetched again when more runs have succeeded. */
export function useSettingComparison(feed: ExperimentFeed, align: Align) {
  const comparison = useSignal<Comparison | null>(null);
  const experiment = feed.experiment.value;
  const succeeded = experiment?.runs.succeeded ?? 0;
  useEffect(() => {
    if (!experiment) return;
    const request = new AbortController();
    getJson<Comparison>(`/experiments/${experiment.id}/comparison`, { align }, request.signal).then(
      (answer) => (comparison.value = answer),
      () => {}, // the experiment itself reports that the service does not answer
    );
    return () => request.abort();
  }, [experiment?.id, succeeded, align]);
  return comparison;
}
