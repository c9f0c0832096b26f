import { effect } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

/**
 * `useSignalEffect` that does not wait: that one acts after the next frame, at first and at every
 * change, and what it asks for or paints comes a frame late.
 *
 * A change acts before components have rendered it: what reads the page's layout belongs in a frame.
 */
export function useSignalLayoutEffect(act: () => void | (() => void)): void {
  const latest = useRef(act);
  latest.current = act;
  useLayoutEffect(() => effect(() => latest.current()), []);
}
