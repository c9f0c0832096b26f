import { useSignal, type ReadonlySignal } from "@preact/signals";

export interface Deed {
  failure: ReadonlySignal<Error | null>; // of the last one, until the next
  going: ReadonlySignal<boolean>;
  act: (what: () => Promise<unknown>) => Promise<void>;
}

/** What a user has the service do: one thing at a time, so that a double click does it once. */
export function useDeed(): Deed {
  const failure = useSignal<Error | null>(null);
  const going = useSignal(false);
  const act = async (what: () => Promise<unknown>) => {
    if (going.value) return;
    going.value = true;
    failure.value = null;
    try {
      await what();
    } catch (error) {
      failure.value = error as Error;
    } finally {
      going.value = false;
    }
  };
  return { failure, going, act };
}
