import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { getJson } from "../api/client";
import type { Blanks } from "../api/types";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";

/** By method: the share of blank probe maps of each epoch, null where it is unknown. */
export type BlankShares = Record<string, (number | null)[]>;

/** The blank shares of the methods; new epochs are fetched as they are recorded. */
export function useBlankShares(
  runId: number,
  methods: () => string[],
  last: ReadonlySignal<number>,
): ReadonlySignal<BlankShares> {
  const shares = useSignal<BlankShares>({});
  const requestedKey = useRef("");

  useSignalLayoutEffect(() => {
    const names = [...new Set(methods())];
    const until = last.value;
    if (until < 1) return;
    const key = names.join(" ");
    const isNew = key !== requestedKey.current;
    requestedKey.current = key;
    const counted = Math.min(...names.map((name) => shares.peek()[name]?.length ?? 1));
    const from = isNew ? 1 : Math.max(1, counted);
    if (from > until) return;
    const params = { method: names, epochs: from === 1 ? null : `${from}:${until}` };
    getJson<Blanks>(`/runs/${runId}/blanks`, params).then(
      (blanks) => {
        if (requestedKey.current === key) shares.value = addBlanks(shares.peek(), names, blanks);
      },
      () => {
        if (requestedKey.current === key) requestedKey.current = ""; // tried again with the next epoch
      },
    );
  });
  return shares;
}

function addBlanks(shares: BlankShares, methods: string[], blanks: Blanks): BlankShares {
  const withMethod = (method: string): [string, (number | null)[]] => {
    const byEpoch = [...(shares[method] ?? [null])]; // epoch 0 is not counted
    for (const { epoch, methods: counts } of blanks.per_epoch) {
      const count = counts[method];
      byEpoch[epoch] = count?.total ? count.blank / count.total : null;
    }
    return [method, byEpoch];
  };
  return Object.fromEntries(methods.map(withMethod));
}
