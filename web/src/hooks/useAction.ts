import { type ReadonlySignal, useSignal } from "@preact/signals";

export interface Action {
  failure: ReadonlySignal<Error | null>; // of the last run, until the next one starts
  isRunning: ReadonlySignal<boolean>;
  run: (task: () => Promise<unknown>) => Promise<void>;
}

/** Runs one task of a user at a time, so that a double click sends a request once. */
export function useAction(): Action {
  const failure = useSignal<Error | null>(null);
  const isRunning = useSignal(false);
  const run = async (task: () => Promise<unknown>) => {
    if (isRunning.value) return;
    isRunning.value = true;
    failure.value = null;
    try {
      await task();
    } catch (error) {
      failure.value = error as Error;
    } finally {
      isRunning.value = false;
    }
  };
  return { failure, isRunning, run };
}
