import { effect, signal } from "@preact/signals";
import { english, type Texts } from "./english";
import { japanese } from "./japanese";

export type Language = "en" | "ja";

const TEXTS: Record<Language, Texts> = { en: english, ja: japanese };
const KEPT = "camreel.language";

function preferred(): Language {
  const kept = localStorage.getItem(KEPT);
  if (kept === "en" || kept === "ja") return kept;
  return navigator.languages.find((name) => /^(en|ja)\b/.test(name))?.startsWith("ja") ? "ja" : "en";
}

export const language = signal<Language>(preferred());

effect(() => {
  document.documentElement.lang = language.value;
});

export function speak(chosen: Language): void {
  localStorage.setItem(KEPT, chosen);
  language.value = chosen;
}

/** The text by that name in the page's language, `{slots}` filled in. */
export function t(name: keyof Texts, slots: Record<string, string | number> = {}): string {
  return TEXTS[language.value][name].replace(/\{(\w+)\}/g, (whole, slot: string) => String(slots[slot] ?? whole));
}

/** With so many decimals, thousands apart: English and Japanese write it alike. */
export function number(value: number, digits = 0): string {
  // Not by Intl: a browser takes some 15 ms to make its first format, while the page is waited for.
  const [whole, part] = value.toFixed(digits).split(".");
  const grouped = whole!.replace(/\B(?=(\d{3})+$)/g, ",");
  return part ? `${grouped}.${part}` : grouped;
}

export const percent = (share: number, digits = 1): string => `${number(share * 100, digits)} %`;

/** An English ordinal: 1st, 2nd, 5th, 21st. */
export function ordinal(count: number): string {
  const teen = count % 100 >= 11 && count % 100 <= 13;
  return `${count}${(!teen && ["th", "st", "nd", "rd"][count % 10]) || "th"}`;
}

/** Three significant digits, however small: peaks span ten orders of magnitude. */
export const significant = (value: number): string =>
  value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4) ? String(Number(value.toPrecision(3))) : value.toExponential(2);

export function moment(text: string): string {
  return new Date(text).toLocaleString(language.value, { dateStyle: "medium", timeStyle: "short" });
}
