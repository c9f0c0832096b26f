import { type ReadonlySignal, type Signal, useComputed } from "@preact/signals";
import type { Probe } from "../api/types";

export interface Selection {
  image: ReadonlySignal<string | null>; // reference; null before the run has probes
  select: (image: string) => void;
  step: (rows: number) => void;
}

/**
 * The selected image: `preferred` if it is one of the probes, or if images other than probes are allowed, such as
 * uploads; else the first probe.
 */
export function useSelection(
  preferred: Signal<string | null>,
  probes: ReadonlySignal<Probe[]>,
  allowsOtherImages: () => boolean = () => false,
): Selection {
  const image = useComputed(() => {
    const reference = preferred.value;
    const isValid = allowsOtherImages() || probes.value.some((probe) => probe.image === reference);
    return (isValid && reference) || (probes.value[0]?.image ?? null);
  });
  const select = (reference: string) => void (preferred.value = reference);
  return {
    image,
    select,
    step: (rows) => {
      const index = probes.peek().findIndex((probe) => probe.image === image.peek());
      const next = elementNear(probes.peek(), index + rows);
      if (next) select(next.image);
    },
  };
}

/** The element at an index, or the nearest end's; undefined in an empty array. */
export const elementNear = <T>(elements: readonly T[], index: number): T | undefined =>
  elements[Math.min(Math.max(0, index), elements.length - 1)];
