// The preload plan: the document of a run lists the first requests of its page as preload links, so that the
// browser sends them while it loads the script. `service/api/preload_hints.py` is the only place that decides on it.

import { address, type Params } from "./address";

let planned: Set<string> | null = null;

function readPlan(): Set<string> {
  const links = document.querySelectorAll<HTMLLinkElement>('link[rel="preload"][as="fetch"]');
  return new Set([...links].map((link) => link.href));
}

/** Whether the document preloads this request. True only once, since a preloaded response is used only once. */
export function takePreloaded(path: string, params?: Params): boolean {
  planned ??= readPlan();
  return planned.delete(new URL(address(path, params), location.href).href);
}
