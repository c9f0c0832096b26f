// The scrubber: the epoch that drives everything on the page.

import { useSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { t } from "../text";

export const SPEEDS = [2, 5, 10, 20, 40] as const;

interface Props {
  epoch: ReadonlySignal<number>;
  last: ReadonlySignal<number>;
  label: (epoch: number) => string;
  playing: Signal<boolean>;
  follows: ReadonlySignal<boolean>;
  live: boolean;
  onSeek: (epoch: number) => void;
  onFollow: () => void;
}

export function Scrubber({ epoch, last, label, playing, follows, live, onSeek, onFollow }: Props) {
  const speed = useSignal<number>(10);

  useSignalLayoutEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => {
      if (epoch.peek() >= last.peek()) playing.value = false;
      else onSeek(epoch.peek() + 1);
    }, 1000 / speed.value);
    return () => clearInterval(timer);
  });

  const toggle = () => {
    if (!playing.value && epoch.value >= last.value) onSeek(0);
    playing.value = !playing.value;
  };
  return (
    <div class="scrubber" role="group" aria-label={t("scrubber.title")}>
      <button type="button" class="play" onClick={toggle} aria-label={playing.value ? t("scrubber.pause") : t("scrubber.play")}>
        {playing.value ? "❚❚" : "▶"}
      </button>
      <input
        type="range" min={0} max={Math.max(0, last.value)} step={1} value={epoch.value}
        aria-label={t("scrubber.epoch")} aria-valuetext={label(epoch.value)}
        onInput={(event) => {
          playing.value = false;
          onSeek(event.currentTarget.valueAsNumber);
        }}
      />
      <output>{label(epoch.value)}<span class="muted"> / {last.value}</span></output>
      <label class="speed">
        <span class="visually-hidden">{t("scrubber.speed")}</span>
        <select value={speed.value} onChange={(event) => (speed.value = Number(event.currentTarget.value))}>
          {SPEEDS.map((value) => <option value={value}>{t("scrubber.perSecond", { count: value })}</option>)}
        </select>
      </label>
      {live && (
        <button type="button" class="follow" aria-pressed={follows.value} onClick={onFollow}>
          {t("scrubber.follow")}
        </button>
      )}
    </div>
  );
}
