import { batch, signal, untracked } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import { fetchDatasets, fetchMethods, fetchTargets, recordedMethods } from "../api/catalogue";
import { delay, networkIdle } from "../api/pending";
import type { Dataset, Method, Target } from "../api/types";
import { colormaps, loadColormaps } from "../maps/colors";
import { parseMethodSpec } from "../maps/methodSpec";
import { useSignalLayoutEffect } from "./useSignalLayoutEffect";
import { ignoreUnknownNames, type View } from "./useView";

const MAX_DELAY_MS = 1000;

/** The catalogue's methods, targets and datasets; empty until they are loaded. */
export const catalogue = {
  methods: signal<Method[]>([]),
  targets: signal<Target[]>([]),
  datasets: signal<Dataset[]>([]),
  failure: signal<Error | null>(null), // of loading these or the colormaps
};

/** Whether every run records the method, as only the methods of the paper are. */
export const isRecorded = (method: string): boolean => recordedMethods().includes(method);

/** Whether the method, given with its target and parameters, explains one layer. */
export function takesLayer(spec: string): boolean {
  const { method: name } = parseMethodSpec(spec);
  const method = catalogue.methods.value.find((candidate) => candidate.name === name);
  return method?.attribution_level === "layer" || isRecorded(name);
}

/**
 * The layers of the view's methods A and B; null for the default, for methods that do not take a layer, and for others
 * until the catalogue is loaded.
 */
export const requestedLayers = ({ methodA, methodB, layerA, layerB }: View): [a: string | null, b: string | null] => [
  takesLayer(methodA.value) ? layerA.value : null,
  takesLayer(methodB.value) ? layerB.value : null,
];

/**
 * Loads the colormaps, and methods and targets: these after the page's first answers, unless the view needs them to
 * name its methods.
 */
export function useCatalogue(view: View): void {
  useLayoutEffect(() => void openCatalogue(view), []);
  useSignalLayoutEffect(() => {
    const methods = catalogue.methods.value;
    if (methods.length) untracked(() => ignoreUnknownNames(view, methods, colormaps.value));
  });
}

async function openCatalogue(view: View): Promise<void> {
  if ([view.methodA, view.methodB].every((method) => isRecorded(method.peek()))) {
    await loadColormaps().catch(() => {}); // tried again with the others
    await Promise.race([networkIdle(), delay(MAX_DELAY_MS)]);
  }
  await loadCatalogue();
}

/** Loads what is not loaded yet. */
export async function loadCatalogue(): Promise<void> {
  try {
    const [methods, targets, datasets] = await Promise.all([
      ...([fetchMethods(), fetchTargets(), fetchDatasets()] as const),
      loadColormaps(),
    ]);
    batch(() => {
      catalogue.methods.value = methods;
      catalogue.targets.value = targets;
      catalogue.datasets.value = datasets;
      catalogue.failure.value = null;
    });
  } catch (error) {
    catalogue.failure.value = error as Error;
  }
}
