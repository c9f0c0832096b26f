import { effect, signal } from "@preact/signals";
import { english, type Texts } from "./english";
import { japanese } from "./japanese";

export type Language = "en" | "ja";

const TEXTS: Record<Language, Texts> = { en: english, ja: japanese };
const SLOT = /\{(\w+)(?::([^|}]*)\|([^|}]*))?\}/g;
const STORAGE_KEY = "camreel.language";

/** The language that was selected earlier, else the first of the browser's that the page has, else English. */
function preferredLanguage(): Language {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (stored === "en" || stored === "ja") return stored;
  return navigator.languages.find((name) => /^(en|ja)\b/.test(name))?.startsWith("ja") ? "ja" : "en";
}

export const language = signal<Language>(preferredLanguage());

effect(() => {
  document.documentElement.lang = language.value;
});

export function setLanguage(next: Language): void {
  localStorage.setItem(STORAGE_KEY, next);
  language.value = next;
}

/**
 * The text of that name in the page's language, its `{slots}` filled in. Of a slot with two forms, as in
 * `{count:# map|# maps}`, the first stands for one and the second for all other numbers; `#` is the number.
 */
export function t(name: keyof Texts, slots: Record<string, string | number> = {}): string {
  return TEXTS[language.value][name].replace(SLOT, (whole, slot: string, one?: string, other?: string) => {
    const value = slots[slot];
    if (value === undefined) return whole;
    const form = String(value) === "1" ? one : other;
    return form === undefined ? String(value) : form.replaceAll("#", String(value));
  });
}

/** The text of that name if there is one, else undefined: for names that come from the service. */
export const tIfKnown = (name: string): string | undefined => (name in english ? t(name as keyof Texts) : undefined);

/** A number with `digits` decimals and grouped thousands, which English and Japanese write alike. */
export function number(value: number, digits = 0): string {
  // Without Intl, whose first format takes a browser 15 ms while the page opens.
  const [integer, fraction] = value.toFixed(digits).split(".");
  const grouped = integer!.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction ? `${grouped}.${fraction}` : grouped;
}

export const percent = (share: number, digits = 1): string => `${number(share * 100, digits)} %`;

/** Every nth of something: "5th" in English, "5" in Japanese. */
export function nth(count: number): string {
  if (language.value === "ja") return String(count);
  const isTeen = count % 100 >= 11 && count % 100 <= 13;
  return `${count}${(!isTeen && ["th", "st", "nd", "rd"][count % 10]) || "th"}`;
}

/** Three significant digits, however small the value: peaks span ten orders of magnitude. */
export function significant(value: number): string {
  const magnitude = Math.abs(value);
  const isPlain = value === 0 || (magnitude >= 1e-3 && magnitude < 1e4);
  return isPlain ? String(Number(value.toPrecision(3))) : value.toExponential(2);
}

/** A duration in one or two units: 2.4 s, 45 s, 3 min 20 s, 2 h 5 min. */
export function formatDuration(seconds: number): string {
  if (seconds < 59.5) {
    const digits = seconds < 9.95 && !Number.isInteger(seconds) ? 1 : 0;
    return t("duration.seconds", { seconds: number(seconds, digits) });
  }
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return t("duration.minutes", { minutes, seconds: whole % 60 });
  return t("duration.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

export function formatTime(text: string): string {
  return new Date(text).toLocaleString(language.value, { dateStyle: "medium", timeStyle: "short" });
}
