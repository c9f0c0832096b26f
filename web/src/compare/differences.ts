import type { Json } from "../api/types";

export interface Difference {
  name: string;
  values: string[];
}

const NOT_COMPARED = ["name", "tags"];

/** What differs between specs, by dotted name. */
export function differences(specs: Record<string, Json>[]): Difference[] {
  const flat = specs.map((spec) => flattened(spec));
  const names = [...new Set(flat.flatMap((one) => Object.keys(one)))].filter((name) => !NOT_COMPARED.includes(name));
  return names
    .map((name) => ({ name, values: flat.map((one) => one[name] ?? "–") }))
    .filter(({ values }) => new Set(values).size > 1);
}

function flattened(value: Json, name = ""): Record<string, string> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { [name]: JSON.stringify(value).replaceAll('"', "") };
  return Object.assign({}, ...Object.entries(value).map(([key, one]) => flattened(one, name ? `${name}.${key}` : key)));
}
