import { useCallback, useLayoutEffect, useRef } from "preact/hooks";

/** A function that schedules `callback` for the next frame, once however often it is called until then. */
export function useAnimationFrame(callback: () => void): () => void {
  const latest = useRef(callback);
  latest.current = callback;
  const request = useRef(0);
  // A layout effect, since a passive effect's cleanup could run after the frame.
  useLayoutEffect(() => () => cancelAnimationFrame(request.current), []);
  return useCallback(() => {
    request.current ||= requestAnimationFrame(() => {
      request.current = 0;
      latest.current();
    });
  }, []);
}
