import { batch, type ReadonlySignal, useSignal } from "@preact/signals";
import { getJson } from "../api/client";
import { formatEpochs } from "../api/epochs";
import { takePreloaded } from "../api/preload";
import type { Scores } from "../api/types";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";

const EPOCHS_PER_REQUEST = 200;
const REQUEST_DELAY_MS = 30;

/** One number per class; null if the network's scores are not finite. */
export type Probabilities = (number | null)[];

export interface ClassScores {
  classNames: ReadonlySignal<string[]>;
  label: ReadonlySignal<number | null>; // the selected image's true class
  /** The probabilities, or undefined until they are loaded. */
  at: (image: string | null, epoch: number) => Probabilities | undefined;
  failure: ReadonlySignal<Error | null>; // of the latest request
  retry: () => void;
}

/** The class with the highest probability; -1 if none is a number. */
export function predictedClass(probabilities: Probabilities): number {
  const numbers = probabilities.filter((value) => value !== null);
  return numbers.length ? probabilities.indexOf(Math.max(...numbers)) : -1;
}

/** Each class's probability for the selected image, loaded in blocks around the selected epoch. */
export function useScores(
  runId: number,
  image: ReadonlySignal<string | null>,
  epoch: ReadonlySignal<number>,
  last: ReadonlySignal<number>,
): ClassScores {
  const scores = useSignal(new Map<string, Probabilities>());
  const classNames = useSignal<string[]>([]);
  const label = useSignal<number | null>(null);
  const failure = useSignal<Error | null>(null);
  const attempts = useSignal(0); // by hand

  useSignalLayoutEffect(() => {
    const reference = image.value;
    const current = epoch.value;
    void attempts.value;
    const isLoaded = (e: number) => scores.peek().has(`${reference} ${e}`);
    if (!reference || last.value < 0 || current > last.value || isLoaded(current)) return;
    const from = Math.max(0, current - EPOCHS_PER_REQUEST / 2);
    const block = Array.from({ length: EPOCHS_PER_REQUEST }, (_, i) => from + i);
    const missing = block.filter((e) => e <= last.value && (e === current || !isLoaded(e)));
    const request = () => void load(reference, missing);
    if (!scores.peek().size) return request();
    // Delayed, so that epochs that are only scrubbed past cause no requests.
    const timer = setTimeout(request, REQUEST_DELAY_MS);
    return () => clearTimeout(timer);
  });

  async function load(reference: string, epochs: number[]): Promise<void> {
    const path = `/runs/${runId}/scores`;
    // Without parameters: of the first probe at all epochs.
    const params = takePreloaded(path) ? {} : { image: reference, epochs: formatEpochs(epochs) };
    try {
      const answer = await getJson<Scores>(path, params);
      const next = new Map(scores.peek());
      for (const [i, e] of answer.epochs.entries()) next.set(`${answer.image} ${e}`, answer.probabilities[i]!);
      batch(() => {
        classNames.value = answer.classes;
        label.value = answer.label;
        scores.value = next;
        failure.value = null;
      });
    } catch (error) {
      failure.value = error as Error;
    }
  }

  return {
    classNames,
    label,
    at: (reference, e) => scores.value.get(`${reference} ${e}`),
    failure,
    retry: () => void attempts.value++,
  };
}
