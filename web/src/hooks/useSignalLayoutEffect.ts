import { effect } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

/**
 * Like `useSignalEffect`, but without its delay of a frame, at first and after every change.
 *
 * The effect runs before components have rendered a change: code that reads the layout belongs in a frame.
 */
export function useSignalLayoutEffect(callback: () => void | (() => void)): void {
  const latest = useRef(callback);
  latest.current = callback;
  useLayoutEffect(() => effect(() => latest.current()), []);
}
