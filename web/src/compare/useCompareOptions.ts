import { type ReadonlySignal, useComputed } from "@preact/signals";
import { requestedLayers } from "../hooks/useCatalogue";
import type { View } from "../hooks/useView";
import { replaceSearchParams, searchParams } from "../navigation";

/** What a comparison shows of each run besides the selected probe by one method; the URL holds it. */
export interface CompareOptions {
  showsAllProbes: ReadonlySignal<boolean>; // all that the runs have in common
  isPair: ReadonlySignal<boolean>; // methods A and B
  showsDifferences: ReadonlySignal<boolean>; // of each run's maps from those of the first
  set: (name: "probes" | "pair" | "differences", value: boolean) => void;
}

export function useCompareOptions(): CompareOptions {
  return {
    showsAllProbes: useFlag("probes", "all"),
    isPair: useFlag("pair", "1"),
    showsDifferences: useFlag("differences", "1"),
    set: (name, value) => replaceSearchParams({ [name]: value ? (name === "probes" ? "all" : "1") : null }),
  };
}

const useFlag = (name: string, text: string): ReadonlySignal<boolean> =>
  useComputed(() => searchParams.value.get(name) === text);

/** The methods that are shown, with their layers. */
export function shownMethods(view: View, isPair: boolean): { method: string; layer: string | null }[] {
  const methods = [view.methodA.value, view.methodB.value];
  const layers = requestedLayers(view);
  const indices = isPair ? [0, 1] : [0];
  return indices.map((index) => ({ method: methods[index]!, layer: layers[index]! }));
}
