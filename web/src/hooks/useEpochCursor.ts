import { type ReadonlySignal, type Signal, useComputed, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";

export interface EpochCursor {
  epoch: ReadonlySignal<number>;
  last: ReadonlySignal<number>; // -1 before the first epoch
  isFollowing: ReadonlySignal<boolean>;
  isPlaying: Signal<boolean>;
  seek: (epoch: number) => void;
  step: (epochs: number) => void;
  togglePlaying: () => void;
  toggleFollowing: () => void;
}

/** The selected epoch; `position` is null while it follows the latest one. */
export function useEpochCursor(position: Signal<number | null>, last: ReadonlySignal<number>): EpochCursor {
  const epoch = useComputed(() => {
    const end = Math.max(0, last.value);
    return Math.min(position.value ?? end, end);
  });
  const isFollowing = useComputed(() => position.value === null);
  const isPlaying = useSignal(false);
  return useMemo(() => {
    const seek = (to: number) => void (position.value = Math.min(Math.max(0, to), Math.max(0, last.peek())));
    return {
      epoch,
      last,
      isFollowing,
      isPlaying,
      seek,
      step: (epochs) => seek(epoch.peek() + epochs),
      togglePlaying: () => {
        if (!isPlaying.peek() && epoch.peek() >= last.peek()) seek(0);
        isPlaying.value = !isPlaying.peek();
      },
      toggleFollowing: () => void (position.value = position.peek() === null ? epoch.peek() : null),
    };
  }, []);
}
