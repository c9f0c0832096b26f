/** A method with its target and parameters, as in the notation `layer-cam/margin?steps=4`. */
export interface MethodSpec {
  method: string;
  target: string | undefined; // undefined: the method's default
  query: string; // parameters, without the question mark
}

export function parseMethodSpec(text: string): MethodSpec {
  const [name, query = ""] = text.split("?") as [string, string | undefined];
  const [method, target] = name.split("/") as [string, string | undefined];
  return { method, target, query };
}

export const formatMethodSpec = ({ method, target, query }: MethodSpec): string =>
  method + (target ? `/${target}` : "") + (query ? `?${query}` : "");

/** The query parameters of the API for a method. */
export function methodSpecParameters(text: string): Record<string, string> {
  const { method, target, query } = parseMethodSpec(text);
  return { method, ...(target ? { target } : {}), ...Object.fromEntries(new URLSearchParams(query)) };
}
