import { useCallback, useLayoutEffect, useRef } from "preact/hooks";

/** Asks for `act` in the next frame: once, however often it is asked for until then. */
export function useFrame(act: () => void): () => void {
  const latest = useRef(act);
  latest.current = act;
  const waiting = useRef(0);
  // An effect that waits for the next frame would end after it: with nothing left to act on.
  useLayoutEffect(() => () => cancelAnimationFrame(waiting.current), []);
  return useCallback(() => {
    waiting.current ||= requestAnimationFrame(() => {
      waiting.current = 0;
      latest.current();
    });
  }, []);
}
