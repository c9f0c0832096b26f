import { batch, signal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { fetchMethods, fetchTargets, recordedMethods } from "../api/catalogue";
import { delay, networkIdle } from "../api/pending";
import type { Method, Target } from "../api/types";
import { loadColormaps } from "../maps/colors";
import type { View } from "./useView";

const MAX_DELAY_MS = 1000;

/** The catalogue's methods and targets; empty until they are loaded. */
export const catalogue = {
  methods: signal<Method[]>([]),
  targets: signal<Target[]>([]),
};

/** Whether every run records the method, as only the methods of the paper are. */
export const isRecorded = (method: string): boolean => recordedMethods().includes(method);

/**
 * Loads the colormaps, and methods and targets: these after the page's first answers, unless the view needs them to
 * name its methods.
 */
export function useCatalogue(view: View): void {
  useLayoutEffect(() => void loadCatalogue(view).catch(() => {}), []); // the run's own request reports the failure
}

async function loadCatalogue(view: View): Promise<void> {
  const colormaps = loadColormaps();
  if ([view.methodA, view.methodB].every((method) => isRecorded(method.peek()))) {
    await colormaps;
    await Promise.race([networkIdle(), delay(MAX_DELAY_MS)]);
  }
  const [methods, targets] = await Promise.all([fetchMethods(), fetchTargets(), colormaps]);
  batch(() => {
    catalogue.methods.value = methods;
    catalogue.targets.value = targets;
  });
}
