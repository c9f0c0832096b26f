// Which page a URL shows. Pure, so that it can be tested without a browser.

export type Route =
  | { page: "start" }
  | { page: "new" }
  | { page: "run"; id: number }
  | { page: "compare"; ids: number[] }
  | { page: "experiments" }
  | { page: "newExperiment" }
  | { page: "experiment"; id: number }
  | { page: "notFound" };

export const MAX_COMPARED = 6;

/** The path of a URL, and its query without the question mark. A query may contain further ones. */
export function splitUrl(url: string): { pathname: string; query: string } {
  const end = url.includes("?") ? url.indexOf("?") : url.length;
  return { pathname: url.slice(0, end), query: url.slice(end + 1) };
}

/** The route of a URL's path and query; `root` is the service's path on its origin, without a trailing slash. */
export function parseRoute(url: string, root: string): Route {
  const { pathname, query } = splitUrl(url);
  const path = pathname.replace(/\/$/, "");
  const base = `${root}/app`;
  if (path === root || path === base) return { page: "start" };
  if (!path.startsWith(`${base}/`)) return { page: "notFound" };
  const view = path.slice(base.length);
  const run = /^\/runs\/([1-9]\d{0,14})$/.exec(view);
  const experiment = /^\/experiments\/([1-9]\d{0,14})$/.exec(view);
  if (view === "/experiments") return { page: "experiments" };
  if (view === "/experiments/new") return { page: "newExperiment" };
  if (experiment) return { page: "experiment", id: Number(experiment[1]) };
  if (view === "/new") return { page: "new" };
  if (run) return { page: "run", id: Number(run[1]) };
  if (view === "/compare") return { page: "compare", ids: parseRunIds(new URLSearchParams(query).get("runs") ?? "") };
  return { page: "notFound" };
}

function parseRunIds(text: string): number[] {
  const ids = text.split(",").map(Number);
  return [...new Set(ids.filter((id) => id > 0))].slice(0, MAX_COMPARED);
}

/** The query with some parameters set, or removed where null, kept readable: commas, slashes and colons unescaped. */
export function updateQuery(query: string, changes: Record<string, string | null>): string {
  const params = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) params.delete(name);
    else params.set(name, value);
  }
  return params.toString().replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%3A", ":");
}
