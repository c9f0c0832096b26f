import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { getJson } from "../api/client";
import type { Blanks } from "../api/types";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";

/** By method: the share of blank probe maps of each epoch, null where it is unknown. */
export type BlankShares = Record<string, (number | null)[]>;

/** The blank shares of the methods, without those that are not loaded; new epochs are fetched as they are recorded. */
export function useBlankShares(
  runId: number,
  methods: () => string[],
  last: ReadonlySignal<number>,
): ReadonlySignal<BlankShares> {
  const loaded = useSignal<BlankShares>({});
  const requestedUntil = useRef(new Map<string, number>()); // epochs by method
  const requests = useRef(new Map<string, AbortController>()); // in flight, by method

  /** Fetches the shares after those that are requested already. The request of one method cannot fail another's. */
  const fetchShares = async (method: string, until: number) => {
    const previous = requestedUntil.current.get(method) ?? 0; // epoch 0 is not counted
    if (previous >= until) return;
    const request = new AbortController();
    requests.current.set(method, request);
    requestedUntil.current.set(method, until);
    const params = { method, epochs: previous === 0 ? null : `${previous + 1}:${until}` };
    try {
      const blanks = await getJson<Blanks>(`/runs/${runId}/blanks`, params, request.signal);
      loaded.value = { ...loaded.peek(), [method]: addBlanks(loaded.peek()[method] ?? [null], blanks) };
    } catch {
      requestedUntil.current.set(method, previous); // tried again with the next epoch
    }
  };
  /** Cancels the requests for methods other than these. */
  const cancelOthers = (selected: string[]) => {
    for (const [method, request] of requests.current) if (!selected.includes(method)) request.abort();
  };
  useSignalLayoutEffect(() => {
    const selected = methods();
    cancelOthers(selected);
    for (const method of new Set(selected)) void fetchShares(method, last.value);
  });
  useLayoutEffect(() => () => cancelOthers([]), []);
  return useComputed(() => {
    const names = methods().filter((method) => loaded.value[method]);
    return Object.fromEntries(names.map((method) => [method, loaded.value[method]!]));
  });
}

/** The shares with those of a response, which is of one method. */
function addBlanks(shares: (number | null)[], blanks: Blanks): (number | null)[] {
  const byEpoch = [...shares];
  for (const { epoch, methods } of blanks.per_epoch) {
    const [count] = Object.values(methods);
    byEpoch[epoch] = count?.total ? count.blank / count.total : null;
  }
  return byEpoch;
}
