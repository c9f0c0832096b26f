import { computed, signal } from "@preact/signals";
import { ROOT } from "./api/address";

const BASE = `${ROOT}/app`;

export const here = signal(location.pathname + location.search);

addEventListener("popstate", () => (here.value = location.pathname + location.search));

export type Place =
  | { page: "start" }
  | { page: "new" }
  | { page: "run"; id: number }
  | { page: "compare"; ids: number[] }
  | { page: "unknown" };

export const params = computed(() => new URLSearchParams(here.value.split("?")[1] ?? ""));

export const place = computed<Place>(() => {
  const path = here.value.split("?")[0]!.replace(/\/$/, "");
  if (!path.startsWith(BASE)) return { page: path === ROOT ? "start" : "unknown" };
  const view = path.slice(BASE.length);
  const run = /^\/runs\/(\d+)$/.exec(view);
  if (view === "") return { page: "start" };
  if (view === "/new") return { page: "new" };
  if (run) return { page: "run", id: Number(run[1]) };
  if (view === "/compare") {
    const ids = (params.value.get("runs") ?? "").split(",").map(Number).filter((id) => id > 0);
    return { page: "compare", ids: [...new Set(ids)].slice(0, 6) };
  }
  return { page: "unknown" };
});

/** A step that the back button undoes. */
export function go(path: string): void {
  history.pushState(null, "", BASE + path);
  here.value = location.pathname + location.search;
  scrollTo(0, 0);
}

/** The same place, seen otherwise: in the address, but no step back. */
export function replaceParams(change: Record<string, string | null>): void {
  const next = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString().replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%3A", ":");
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
  here.value = location.pathname + location.search;
}

export const link = (path: string): string => BASE + path;
