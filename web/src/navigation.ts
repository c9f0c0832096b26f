// The page's URL as signals, and how the page changes it.

import { computed, signal } from "@preact/signals";
import { ROOT } from "./api/address";
import { parseRoute, splitUrl, updateQuery } from "./route";

const currentUrl = signal(location.pathname + location.search);

const readUrl = () => void (currentUrl.value = location.pathname + location.search);

addEventListener("popstate", readUrl);

/** The URL's parameters. A value can contain a question mark, as in `a=lime?samples=50`. */
export const searchParams = computed(() => new URLSearchParams(splitUrl(currentUrl.value).query));

export const route = computed(() => parseRoute(currentUrl.value, ROOT));

/** The URL of a path within the page. */
export const href = (path: string): string => `${ROOT}/app${path}`;

/** Shows another path of the page, as an entry of the browser's history. */
export function navigate(path: string): void {
  history.pushState(null, "", href(path));
  readUrl();
  scrollTo(0, 0);
}

/** Changes parameters of the URL, without an entry in the browser's history. */
export function replaceSearchParams(changes: Record<string, string | null>): void {
  const query = updateQuery(location.search, changes);
  history.replaceState(null, "", location.pathname + (query ? `?${query}` : ""));
  readUrl();
}
