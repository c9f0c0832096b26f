// URLs of the service, below whatever path a reverse proxy serves it.

type Value = string | number | null | undefined;
export type Params = Record<string, Value | readonly string[]>;

/**
 * Path of the service on its origin without a trailing slash: "", "/camreel", "/user/x/proxy/8000".
 * Derived from the URL of the built script, which the service serves at `app/assets/*.js`.
 */
export const ROOT = import.meta.env.DEV ? "" : new URL(import.meta.url).pathname.replace(/\/app\/assets\/[^/]*$/, "");

/** URL of an API path with its parameters. Those that are null or undefined are left out; an array repeats its name. */
export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (Array.isArray(value)) for (const item of value) query.append(name, item);
    else if (value !== null && value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  return ROOT + (text ? `${path}?${text}` : path);
}
