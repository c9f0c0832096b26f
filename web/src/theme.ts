import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const STORAGE_KEY = "camreel.theme";
const darkMedia = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(darkMedia.matches);
darkMedia.addEventListener("change", (event) => (systemIsDark.value = event.matches));

function storedTheme(): Theme {
  const stored = localStorage.getItem(STORAGE_KEY);
  return stored === "light" || stored === "dark" ? stored : "system";
}

export const theme = signal<Theme>(storedTheme());
export const isDark = computed(() => (theme.value === "system" ? systemIsDark.value : theme.value === "dark"));

effect(() => {
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
});

export function setTheme(next: Theme): void {
  localStorage.setItem(STORAGE_KEY, next);
  theme.value = next;
}
