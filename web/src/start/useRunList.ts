import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { address, type Params } from "../api/address";
import { getJson } from "../api/client";
import { followRun, hasEnded, withProgress } from "../api/runEvents";
import type { Run } from "../api/types";

const PAGE_SIZE = 50;
const MAX_FOLLOWED = 50;
const REFRESH_MS = 5000; // after which runs that others have started appear

interface RunsPage {
  items: Run[];
  next: string | null;
}

/** The runs of one filter, so that answers to another filter are never mixed with them. */
interface FilteredRuns extends RunsPage {
  key: string;
}

export interface RunFilter {
  search: string;
  tag: string;
  status: string;
  experiment: string; // its id
}

export interface RunList {
  runs: ReadonlySignal<RunsPage | null>;
  failure: ReadonlySignal<Error | null>;
  refresh: () => Promise<void>;
  loadMore: () => Promise<void>;
}

/** The runs that match a filter, newest first, kept up to date. */
export function useRunList({ search, tag, status, experiment }: RunFilter): RunList {
  const runs = useSignal<FilteredRuns | null>(null);
  const failure = useSignal<Error | null>(null);
  const params: Params = {
    search: search || null,
    tag: tag || null,
    status: status || null,
    experiment: experiment || null,
    limit: PAGE_SIZE,
  };
  const key = address("", params);
  const latestKey = useRef(key);
  latestKey.current = key;

  /** Fetches a page, and applies it unless the filter has changed meanwhile. */
  const fetchPage = async (cursor: string | null, apply: (page: RunsPage) => FilteredRuns) => {
    try {
      const page = await getJson<RunsPage>("/runs", { ...params, cursor });
      if (latestKey.current !== key) return;
      runs.value = apply(page);
      failure.value = null;
    } catch (error) {
      if (latestKey.current === key) failure.value = error as Error;
    }
  };
  const refresh = () =>
    fetchPage(null, (first) => {
      const previous = runs.value?.key === key ? runs.value : null;
      const oldest = first.items.at(-1)?.id ?? 0;
      const older = previous?.items.filter((run) => run.id < oldest) ?? [];
      return older.length ? { key, items: [...first.items, ...older], next: previous!.next } : { key, ...first };
    });
  const loadMore = () => {
    const { items, next } = runs.value!;
    return fetchPage(next, (page) => ({ key, items: [...items, ...page.items], next: page.next }));
  };
  useEffect(() => {
    runs.value = null;
    void refresh();
    const timer = setInterval(() => document.hidden || void refresh(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [key]);

  const update = (id: number, change: (run: Run) => Run) => {
    if (!runs.value) return;
    runs.value = { ...runs.value, items: runs.value.items.map((run) => (run.id === id ? change(run) : run)) };
  };
  useFollowedRuns(runs.value?.items ?? [], update);
  return { runs, failure, refresh, loadMore };
}

/** Applies the events of the runs that have not ended. */
function useFollowedRuns(runs: Run[], update: (id: number, change: (run: Run) => Run) => void): void {
  const renewals = useSignal(0);
  const followed = runs.filter((run) => !hasEnded(run)).slice(0, MAX_FOLLOWED);
  useEffect(() => {
    let timer = 0;
    const stops = followed.map((run) =>
      followRun(run, {
        status: (next) => update(next.id, () => next),
        epoch: () => {},
        progress: (progress) => update(run.id, (current) => withProgress(current, progress)),
        connection: (_, lost) => {
          if (lost) timer = window.setTimeout(() => renewals.value++, REFRESH_MS);
        },
      }),
    );
    return () => {
      clearTimeout(timer);
      for (const stop of stops) stop();
    };
  }, [followed.map((run) => run.id).join(), renewals.value]);
}
