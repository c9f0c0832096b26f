// Addresses of the service, wherever a proxy has put it.

type Value = string | number | null | undefined;
export type Params = Record<string, Value | readonly string[]>;

/**
 * Path of the service on its origin, without a slash at the end: "", "/camreel", "/user/x/proxy/8000".
 * The built script is `app/assets/*.js` of the service, so its own address says where that is.
 */
export const ROOT = import.meta.env.DEV ? "" : new URL(import.meta.url).pathname.replace(/\/app\/assets\/[^/]*$/, "");

/** Address of an API path such as "/runs", with those parameters that are given; an array repeats its name. */
export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (Array.isArray(value)) for (const item of value) query.append(name, item);
    else if (value !== null && value !== undefined) query.set(name, String(value));
  }
  const text = query.toString();
  return ROOT + (text ? `${path}?${text}` : path);
}
