import { type ReadonlySignal, useSignal } from "@preact/signals";
import { isReachable, isUnreachable } from "../api/client";
import { useSignalLayoutEffect } from "./useSignalLayoutEffect";

const MIN_FAILURE_MS = 3000;

export interface Action {
  failure: ReadonlySignal<Error | null>; // of the last run, until the next one starts or its cause is gone
  isRunning: ReadonlySignal<boolean>;
  run: (task: () => Promise<unknown>) => Promise<void>;
  clearFailure: () => void;
}

/** Runs one task of a user at a time, so that a double click sends a request once. */
export function useAction(): Action {
  const failure = useSignal<Error | null>(null);
  const isRunning = useSignal(false);
  const clearFailure = () => void (failure.value = null);
  // It stays long enough to be read, should only this one request have failed.
  useSignalLayoutEffect(() => {
    if (!isReachable.value || !isUnreachable(failure.value)) return;
    const timer = setTimeout(clearFailure, MIN_FAILURE_MS);
    return () => clearTimeout(timer);
  });
  const run = async (task: () => Promise<unknown>) => {
    if (isRunning.value) return;
    isRunning.value = true;
    clearFailure();
    try {
      await task();
    } catch (error) {
      failure.value = error as Error;
    } finally {
      isRunning.value = false;
    }
  };
  return { failure, isRunning, run, clearFailure };
}
