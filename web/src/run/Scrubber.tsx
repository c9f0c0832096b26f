import { useSignal } from "@preact/signals";
import type { EpochCursor } from "../hooks/useEpochCursor";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { t } from "../text";

const SPEEDS = [2, 5, 10, 20, 40] as const; // epochs per second
const DEFAULT_SPEED = 10;

interface Props {
  cursor: EpochCursor;
  label: (epoch: number) => string;
  isLive: boolean; // new epochs may come, which the cursor can follow
}

/** The slider that selects the epoch, with a button that plays all epochs. */
export function Scrubber({ cursor, label, isLive }: Props) {
  const { epoch, last, isPlaying, isFollowing, seek } = cursor;
  const speed = useSignal<number>(DEFAULT_SPEED);

  useSignalLayoutEffect(() => {
    if (!isPlaying.value) return;
    const timer = setInterval(() => {
      if (epoch.peek() >= last.peek()) isPlaying.value = false;
      else cursor.step(1);
    }, 1000 / speed.value);
    return () => clearInterval(timer);
  });

  const onInput = (event: Event) => {
    isPlaying.value = false;
    seek((event.currentTarget as HTMLInputElement).valueAsNumber);
  };
  const playLabel = isPlaying.value ? t("scrubber.pause") : t("scrubber.play");
  return (
    <div class="scrubber" role="group" aria-label={t("scrubber.title")}>
      <button type="button" class="play" onClick={cursor.togglePlaying} aria-label={playLabel}>
        {isPlaying.value ? "❚❚" : "▶"}
      </button>
      <input
        type="range"
        min={0}
        max={Math.max(0, last.value)}
        step={1}
        value={epoch.value}
        aria-label={t("scrubber.epoch")}
        aria-valuetext={label(epoch.value)}
        onInput={onInput}
      />
      <output>
        {label(epoch.value)}
        <span class="muted"> / {last.value}</span>
      </output>
      <label class="speed">
        <span class="visually-hidden">{t("scrubber.speed")}</span>
        <select value={speed.value} onChange={(event) => (speed.value = Number(event.currentTarget.value))}>
          {SPEEDS.map((value) => (
            <option key={value} value={value}>
              {t("scrubber.perSecond", { count: value })}
            </option>
          ))}
        </select>
      </label>
      {isLive && (
        <button type="button" class="follow" aria-pressed={isFollowing.value} onClick={cursor.toggleFollowing}>
          {t("scrubber.follow")}
        </button>
      )}
    </div>
  );
}
