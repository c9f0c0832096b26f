import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEPT = "camreel.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const kept = localStorage.getItem(KEPT);
const systemIsDark = signal(system.matches);
system.addEventListener("change", (event) => (systemIsDark.value = event.matches));

export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "system");
export const dark = computed(() => (theme.value === "system" ? systemIsDark.value : theme.value === "dark"));

effect(() => {
  document.documentElement.dataset["theme"] = dark.value ? "dark" : "light";
});

export function choose(next: Theme): void {
  localStorage.setItem(KEPT, next);
  theme.value = next;
}
